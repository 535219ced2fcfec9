package resume

import (
	"slices"

	"github.com/baton-llm/baton/internal/rawjson"
)

// chunk is one event, read.
type chunk struct {
	id, created rawjson.Value
	empty       bool   // no choice: the counts alone
	plain       bool   // there is nothing in it but text
	text        []byte // the inside of a JSON string
	role        bool   // it names the role
	finished    bool

	usage              *rawjson.Object // nil: none
	prompt, completion int

	choice, delta *rawjson.Object // delta: of a chat
}

// read is false for what is no event with at most one choice, or lacks what every event has.
func (t *Transcript) read(o *rawjson.Object) (c chunk, ok bool) {
	c.id, _ = o.Get("id")
	c.created, _ = o.Get("created")
	if c.id.Kind() != rawjson.KindString || c.created.Kind() != rawjson.KindNumber {
		return c, false
	}
	usage, _ := o.Get("usage")
	if c.usage, _ = usage.Object(); c.usage != nil {
		c.prompt, c.completion = count(c.usage, "prompt_tokens"), count(c.usage, "completion_tokens")
	}
	choices, _ := o.Get("choices")
	c.empty = true
	for e, err := range choices.Array() {
		if err != nil || !c.empty {
			return c, false
		}
		c.empty = false
		if c.choice, err = e.Object(); err != nil {
			return c, false
		}
	}
	if c.empty {
		return c, c.usage != nil
	}
	return c, t.readChoice(&c)
}

// readChoice is false for a choice that is not the first, or without text.
func (t *Transcript) readChoice(c *chunk) bool {
	index, _ := c.choice.Get("index")
	if string(index) != "0" {
		return false
	}
	reason, _ := c.choice.Get("finish_reason")
	c.finished = reason.Kind() == rawjson.KindString
	c.plain = nothing(c.choice, "index", "delta", "text", "finish_reason", "stop_reason")
	text, _ := c.choice.Get("text")
	if t.terms.Chat {
		delta, _ := c.choice.Get("delta")
		var err error
		if c.delta, err = delta.Object(); err != nil {
			return false
		}
		c.plain = c.plain && nothing(c.delta, "role", "content")
		role, _ := c.delta.Get("role")
		c.role = role.Kind() == rawjson.KindString
		text, _ = c.delta.Get("content")
	}
	switch text.Kind() {
	case rawjson.KindString:
		c.text = text[1 : len(text)-1]
		return true
	case rawjson.KindNull, rawjson.KindInvalid:
		return t.terms.Chat // the delta of an event without text
	case rawjson.KindBool, rawjson.KindNumber, rawjson.KindArray, rawjson.KindObject:
	}
	return false
}

// nothing tells whether all members but those named are null or empty arrays.
func nothing(o *rawjson.Object, but ...string) bool {
	for name := range o.Names() {
		v, _ := o.Get(name)
		if v.Kind() != rawjson.KindNull && string(v) != "[]" && !slices.Contains(but, name) {
			return false
		}
	}
	return true
}

// withoutRole is the event's choices.
func (c *chunk) withoutRole() []byte {
	choice := c.choice.Edit(rawjson.Set("delta", c.delta.Edit(rawjson.Delete("role"))))
	return slices.Concat([]byte("["), choice, []byte("]"))
}
