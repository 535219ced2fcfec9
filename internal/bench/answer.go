package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// chunk is what the data of an event may hold, as far as it matters here.
type chunk struct {
	Choices []choice        `json:"choices"`
	Usage   *usage          `json:"usage"`
	Error   json.RawMessage `json:"error"`
}

type choice struct {
	Text         string  `json:"text"`
	Delta        delta   `json:"delta"`
	TokenIDs     []int64 `json:"token_ids"`
	FinishReason *string `json:"finish_reason"`
}

type delta struct {
	Role             string          `json:"role"`
	Content          string          `json:"content"`
	Reasoning        string          `json:"reasoning"`
	ReasoningContent string          `json:"reasoning_content"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	Details          *struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// announces reports whether the choice only says who will speak: that is no token.
func (c *choice) announces() bool {
	d := &c.Delta
	return d.Role != "" && c.Text+d.Content+d.Reasoning+d.ReasoningContent == "" && !given(d.ToolCalls) && len(c.TokenIDs) == 0 && c.FinishReason == nil
}

func given(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null" && string(raw) != "[]"
}

// answer gathers one stream into a record.
type answer struct {
	rec    *Record
	live   *live
	start  time.Time
	last   time.Time // of the last event with tokens
	tokens int       // events with tokens
	ids    int       // token ids that came
	usage  *usage
	text   strings.Builder
}

// take adds an event that was complete at the moment at. An event may hold several tokens, so the
// events do not count them.
func (a *answer) take(data []byte, at time.Time) error {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return &Failure{Kind: Protocol, Message: fmt.Sprintf("the event %q: %v", clip(data), err)}
	}
	if given(c.Error) {
		return &Failure{Kind: InStream, Message: messageOf(data)}
	}
	if c.Usage != nil {
		a.usage = c.Usage
	}
	speaks := false
	for i := range c.Choices {
		ch := &c.Choices[i]
		speaks = speaks || !ch.announces()
		a.ids += len(ch.TokenIDs)
		a.text.WriteString(ch.Text)
		a.text.WriteString(ch.Delta.Content)
		if ch.FinishReason != nil {
			a.rec.Finish = *ch.FinishReason
		}
	}
	if !speaks {
		return nil
	}
	if a.tokens == 0 {
		a.rec.TTFT = at.Sub(a.start)
		a.live.first()
	} else {
		gap := at.Sub(a.last)
		a.rec.ITL = append(a.rec.ITL, gap)
		a.live.gap(gap)
	}
	a.tokens++
	a.last = at
	return nil
}

// settle enters the sums of the answer, also of one that broke off.
func (a *answer) settle(byIDs bool) {
	if a.tokens > 0 {
		a.rec.Latency = a.last.Sub(a.start)
	}
	if u := a.usage; u != nil {
		a.rec.PromptTokens, a.rec.OutputTokens, a.rec.Counted = u.PromptTokens, u.CompletionTokens, ByUsage
		if u.Details != nil {
			a.rec.CachedTokens = u.Details.CachedTokens
		}
	}
	if byIDs && a.ids > 0 {
		a.rec.OutputTokens, a.rec.Counted = a.ids, ByTokenIDs
	}
}
