package chaos

import (
	"encoding/json"
	"strings"

	"github.com/baton-llm/baton/internal/enginesim"
)

// answer is what has come of one answer.
type answer struct {
	want   enginesim.Expected
	stream bool

	id     string
	roles  int
	text   strings.Builder
	finish string
	usage  *usage
}

type usage struct {
	Prompt int `json:"prompt_tokens"`
	Answer int `json:"completion_tokens"`
	Total  int `json:"total_tokens"`
}

type said struct {
	Role    string  `json:"role"`
	Content *string `json:"content"`
}

// take adds an event of a stream, or an answer that is not streamed.
func (a *answer) take(data []byte) error {
	var c struct {
		ID      string `json:"id"`
		Choices []struct {
			Text    string  `json:"text"`
			Delta   said    `json:"delta"`
			Message said    `json:"message"`
			Finish  *string `json:"finish_reason"`
		} `json:"choices"`
		Usage *usage          `json:"usage"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return wrong("the data %.80q: %v", data, err)
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return &failure{failEvent, reason(data)}
	}
	if a.id != "" && c.ID != a.id {
		return wrong("the id is %s, and was %s before", c.ID, a.id)
	}
	a.id = c.ID
	if c.Usage != nil {
		if a.usage != nil {
			return wrong("usage comes twice")
		}
		a.usage = c.Usage
	}
	for i := range c.Choices {
		ch := &c.Choices[i]
		if a.finish != "" {
			return wrong("something follows finish_reason")
		}
		if ch.Delta.Role != "" {
			a.roles++
		}
		a.text.WriteString(ch.Text)
		for _, p := range []said{ch.Delta, ch.Message} {
			if p.Content != nil {
				a.text.WriteString(*p.Content)
			}
		}
		if ch.Finish != nil {
			a.finish = *ch.Finish
		}
	}
	if a.roles > 1 {
		return wrong("the role comes twice")
	}
	if !strings.HasPrefix(a.want.Text, a.text.String()) {
		return wrong("the text after %d bytes is not the prompt's: …%.60q", a.text.Len(), tail(a.text.String()))
	}
	return nil
}

// whole checks an answer that has ended well.
func (a *answer) whole(counted bool) error {
	if a.text.Len() != len(a.want.Text) {
		return wrong("the text has %d of %d bytes", a.text.Len(), len(a.want.Text))
	}
	if a.finish != a.want.Finish {
		return wrong("finish_reason is %q, want %q", a.finish, a.want.Finish)
	}
	if (a.usage != nil) != counted {
		return wrong("usage is there: %t, want %t", a.usage != nil, counted)
	}
	if want := (usage{a.want.PromptTokens, a.want.Tokens, a.want.PromptTokens + a.want.Tokens}); counted && *a.usage != want {
		return wrong("usage is %+v, want %+v", *a.usage, want)
	}
	return nil
}

func tail(s string) string { return s[max(0, len(s)-60):] }
