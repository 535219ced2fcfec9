package openai

import (
	"errors"

	"github.com/baton-llm/baton/internal/rawjson"
)

var errPrompt = errors.New("prompt must be a string, an array of strings, an array of token ids or an array of arrays of token ids")

// prompt reads string | [string] | [int] | [[int]].
func (m *members) prompt(p *Plan) {
	if _, ok := m.get("prompt_embeds"); ok {
		p.Whole = true
		return
	}
	v, ok := m.get("prompt")
	if !ok || string(v) == `""` || isEmptyArray(v) {
		m.fail("prompt", "Either prompt or prompt_embeds must be provided and non-empty.")
		return
	}
	if v.Kind() == rawjson.KindString {
		p.PromptTokens = len(v) / bytesPerToken
		return
	}
	prompts, tokens, err := countPrompts(v)
	if err != nil {
		m.fail("prompt", "%s", err.Error())
		return
	}
	p.PromptTokens = tokens
	p.Whole = p.Whole || prompts > 1
}

func isEmptyArray(v rawjson.Value) bool {
	for range v.Array() { // yields an error if v is none
		return false
	}
	return true
}

// countPrompts counts the prompts and tokens of an array, whose elements are all of one kind.
func countPrompts(v rawjson.Value) (prompts, tokens int, err error) {
	var kind rawjson.Kind
	for e, err := range v.Array() {
		if err != nil || (kind != rawjson.KindInvalid && e.Kind() != kind) {
			return 0, 0, errPrompt
		}
		kind = e.Kind()
		switch kind {
		case rawjson.KindNumber:
			if !isTokenID(e) {
				return 0, 0, errPrompt
			}
			prompts = 1
			tokens++
		case rawjson.KindString:
			prompts++
			tokens += len(e) / bytesPerToken
		case rawjson.KindArray:
			ids, err := countIDs(e)
			if err != nil {
				return 0, 0, err
			}
			prompts++
			tokens += ids
		case rawjson.KindInvalid, rawjson.KindNull, rawjson.KindBool, rawjson.KindObject:
			return 0, 0, errPrompt
		}
	}
	return prompts, tokens, nil
}

func countIDs(v rawjson.Value) (n int, err error) {
	for id, err := range v.Array() {
		if err != nil || !isTokenID(id) {
			return 0, errPrompt
		}
		n++
	}
	if n == 0 {
		return 0, errors.New("prompt must not hold an empty array of token ids")
	}
	return n, nil
}

func isTokenID(v rawjson.Value) bool {
	n, err := whole(v)
	return err == nil && n >= 0
}
