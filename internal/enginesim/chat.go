package enginesim

import "math"

const (
	objectChat  = "chat.completion"
	objectChunk = "chat.completion.chunk"
)

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatChunkChoice struct {
	Index        int           `json:"index"`
	Delta        chatDelta     `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	StopReason   *string       `json:"stop_reason,omitempty"`
}

type chatChunk struct {
	ID      string            `json:"id"`
	Object  string            `json:"object"`
	Created int64             `json:"created"`
	Model   string            `json:"model"`
	Choices []chatChunkChoice `json:"choices"`
	Usage   *usage            `json:"usage,omitempty"`
}

type chatMessageOut struct {
	Role      string  `json:"role"`
	Content   string  `json:"content"`
	Refusal   *string `json:"refusal"`
	ToolCalls []any   `json:"tool_calls"`
	Reasoning *string `json:"reasoning"`
}

type chatChoice struct {
	Index        int            `json:"index"`
	Message      chatMessageOut `json:"message"`
	Logprobs     *chatLogprobs  `json:"logprobs"`
	FinishReason *string        `json:"finish_reason"`
	StopReason   *string        `json:"stop_reason"`
}

type chatWhole struct {
	ID                string       `json:"id"`
	Object            string       `json:"object"`
	Created           int64        `json:"created"`
	Model             string       `json:"model"`
	Choices           []chatChoice `json:"choices"`
	ServiceTier       *string      `json:"service_tier"`
	SystemFingerprint *string      `json:"system_fingerprint"`
	Usage             *usage       `json:"usage"`
	PromptLogprobs    *string      `json:"prompt_logprobs"`
	KVTransferParams  *handle      `json:"kv_transfer_params"`
}

type chatLogprobs struct {
	Content []chatTokenLogprob `json:"content"`
}

type tokenLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

type chatTokenLogprob struct {
	tokenLogprob
	Top []tokenLogprob `json:"top_logprobs"`
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *answer) chunk(choices ...chatChunkChoice) chatChunk {
	return chatChunk{
		ID: a.id, Object: objectChunk, Created: a.created, Model: a.engine.cfg.Model, Choices: append([]chatChunkChoice{}, choices...),
	}
}

// roleChunk is the first one of a choice; it goes out with the first token.
func (a *answer) roleChunk(index int) chatChunk {
	c := a.chunk(chatChunkChoice{Index: index, Delta: chatDelta{Role: "assistant", Content: new(string)}})
	if a.runningUsage() != nil {
		c.Usage = a.usage(false)
		c.Usage.TotalTokens -= c.Usage.CompletionTokens
		c.Usage.CompletionTokens = 0
	}
	return c
}

func (a *answer) chatChunk(p piece) chatChunk {
	c := a.chunk(chatChunkChoice{
		Index: p.index, Delta: chatDelta{Content: &p.text}, Logprobs: a.chatLogprobs(p.tokens),
		FinishReason: orNil(p.finish), StopReason: orNil(p.matched),
	})
	c.Usage = a.runningUsage()
	return c
}

// usageChunk is the last one, without choices.
func (a *answer) usageChunk() any {
	if a.req.chat {
		c := a.chunk()
		c.Usage = a.usage(true)
		return c
	}
	c := a.completion()
	return completionChunk{completionHead: c, Choices: []completionChunkChoice{}, Usage: a.usage(true)}
}

func (a *answer) chatWhole(pieces []piece, h *handle) chatWhole {
	out := chatWhole{
		ID: a.id, Object: objectChat, Created: a.created, Model: a.engine.cfg.Model, Usage: a.usage(true), KVTransferParams: h,
	}
	for _, p := range pieces {
		out.Choices = append(out.Choices, chatChoice{
			Index: p.index, Message: chatMessageOut{Role: "assistant", Content: p.text, ToolCalls: []any{}},
			Logprobs: a.chatLogprobs(p.tokens), FinishReason: orNil(p.finish), StopReason: orNil(p.matched),
		})
	}
	return out
}

func (a *answer) chatLogprobs(tokens []string) *chatLogprobs {
	if a.req.logprobs < 0 {
		return nil
	}
	out := &chatLogprobs{Content: []chatTokenLogprob{}}
	for _, word := range tokens {
		c := chatTokenLogprob{tokenLogprob: logprobOf(word, 0), Top: []tokenLogprob{}}
		for rank := range a.req.logprobs {
			c.Top = append(c.Top, logprobOf(alternative(word, rank), rank))
		}
		out.Content = append(out.Content, c)
	}
	return out
}

// logprobOf is not computed: it only falls with the rank.
func logprobOf(word string, rank int) tokenLogprob {
	t := tokenLogprob{Token: word, Logprob: fakeLogprob(rank)}
	for _, b := range []byte(word) {
		t.Bytes = append(t.Bytes, int(b))
	}
	return t
}

func fakeLogprob(rank int) float64 { return -0.125 * math.Pow(2, float64(rank)) }

// alternative is another word that might have come in place of this one.
func alternative(word string, rank int) string {
	if rank == 0 {
		return word
	}
	return Token(word, rank)
}
