// Package openai reads the few members of an OpenAI-style body that baton acts on and refuses
// what an engine would refuse for certain. It owns the rules for those members. It never changes
// a body, ignores members it does not know (vLLM takes many more than OpenAI), and knows nothing
// of HTTP.
package openai

import (
	"errors"
	"math"

	"github.com/baton-llm/baton/internal/rawjson"
)

// Endpoint says which rules a body is read by.
type Endpoint uint8

// Endpoints.
const (
	Chat        Endpoint = iota // /v1/chat/completions
	Completions                 // /v1/completions
	Other                       // anything that one engine answers whole; only model, stream and the KV members are read
)

const (
	bytesPerToken    = 4  // of text; a usual figure for English
	defaultMaxTokens = 16 // of a completion that names none
)

// Plan is what the rest of baton needs to know of a body.
type Plan struct {
	Model        string // "": the body names none
	Stream       bool   // the client wants server-sent events
	Whole        bool   // gains nothing from, or cannot stand, being split into prefill and decode
	PromptTokens int    // estimate by size of the text; exact for token ids
	MaxTokens    int    // most tokens of one answer; 0: the body names no bound
}

// Parse reads and checks a body. Its errors are *Fault.
func Parse(endpoint Endpoint, body []byte) (Plan, error) {
	object, err := rawjson.Parse(body)
	if err != nil {
		return Plan{}, &Fault{Message: err.Error()}
	}
	m := &members{object: object}
	p := Plan{Model: m.text("model"), Stream: m.flag("stream")}
	m.refuseTransferParams()
	switch endpoint {
	case Chat:
		p.PromptTokens = m.messages()
		m.generation(&p)
		if n, ok := m.atLeast("max_completion_tokens", 1); ok { // wins over max_tokens, as in vLLM
			p.MaxTokens = clamp(n)
		}
	case Completions:
		p.MaxTokens = defaultMaxTokens
		m.generation(&p)
		m.prompt(&p)
	case Other:
		p.Whole = true
		p.PromptTokens = len(body) / bytesPerToken
	}
	if endpoint != Other {
		m.minTokens(p.MaxTokens)
		p.Whole = p.Whole || p.MaxTokens == 1
	}
	if m.err != nil {
		return Plan{}, m.err
	}
	return p, nil
}

// refuseTransferParams keeps clients away from the KV connectors: an incomplete set of parameters
// kills a vLLM engine, a complete one makes it dial a host of the client's choice. vLLM merges
// vllm_xargs into the same place.
func (m *members) refuseTransferParams() {
	names := []string{"kv_transfer_params", "ec_transfer_params"}
	for _, name := range names {
		if _, ok := m.get(name); ok {
			m.fail(name, "%s is set by the server and must not be sent", name)
		}
	}
	v, ok := m.get("vllm_xargs")
	if !ok {
		return
	}
	extra, err := v.Object()
	if err != nil {
		m.fail("vllm_xargs", "vllm_xargs must be an object")
		return
	}
	for _, name := range names {
		if _, ok := extra.Get(name); ok {
			m.fail("vllm_xargs", "vllm_xargs must not hold %s, which is set by the server", name)
		}
	}
}

// generation reads what chat and completions share.
func (m *members) generation(p *Plan) {
	echo := m.flag("echo")
	least := int64(1)
	if echo {
		least = 0 // score the prompt only
	}
	if n, ok := m.atLeast("max_tokens", least); ok {
		p.MaxTokens = clamp(n)
	}
	n, _ := m.atLeast("n", 1)
	bestOf, _ := m.integer("best_of")
	_, promptLogprobs := m.get("prompt_logprobs")
	beam := m.flag("use_beam_search")
	p.Whole = echo || n > 1 || bestOf > 1 || promptLogprobs || beam

	const hottest = 2
	if t, ok := m.number("temperature"); ok && (t < 0 || t > hottest) {
		m.fail("temperature", "temperature must be in [0, %d], got %v.", hottest, t)
	}
	if t, ok := m.number("top_p"); ok && (t <= 0 || t > 1) {
		m.fail("top_p", "top_p must be in (0, 1], got %v.", t)
	}
	m.stop()
	if v, ok := m.get("stream_options"); ok {
		switch {
		case v.Kind() != rawjson.KindObject:
			m.fail("stream_options", "stream_options must be an object")
		case !p.Stream:
			m.fail("stream_options", "Stream options can only be defined when `stream=True`.")
		}
	}
}

func (m *members) minTokens(most int) {
	n, ok := m.atLeast("min_tokens", 0)
	if ok && most > 0 && n > int64(most) {
		m.fail("min_tokens", "min_tokens must be less than or equal to max_tokens=%d, got %d.", most, n)
	}
}

func (m *members) stop() {
	v, ok := m.get("stop")
	if !ok || v.Kind() == rawjson.KindString {
		return
	}
	for e, err := range v.Array() {
		if err != nil || e.Kind() != rawjson.KindString {
			m.fail("stop", "stop must be a string or an array of strings")
			return
		}
	}
}

// messages checks the conversation and estimates its tokens.
func (m *members) messages() int {
	v, ok := m.get("messages")
	if !ok {
		m.fail("messages", "messages is required")
		return 0
	}
	count, size := 0, 0
	for e, err := range v.Array() {
		if err != nil {
			m.fail("messages", "messages must be an array")
			return 0
		}
		message, err := e.Object()
		if err != nil {
			m.fail("messages", "messages[%d] must be an object", count)
			return 0
		}
		if role, ok := message.Get("role"); !ok || role.Kind() != rawjson.KindString {
			m.fail("messages", "messages[%d].role must be a string", count)
			return 0
		}
		if content, ok := message.Get("content"); ok {
			size += textSize(content)
		}
		count++
	}
	if count == 0 {
		m.fail("messages", "messages must not be empty")
	}
	if tools, ok := m.get("tools"); ok { // templates print them into the prompt
		size += len(tools)
	}
	return size / bytesPerToken
}

// textSize is the bytes of text in a message's content, a string or an array of parts. Pictures
// and sound are not text and count nothing.
func textSize(content rawjson.Value) (size int) {
	switch content.Kind() {
	case rawjson.KindString:
		return len(content)
	case rawjson.KindArray:
		for e, err := range content.Array() {
			if err != nil {
				return size
			}
			part, err := e.Object()
			if err != nil {
				continue // the engine says what is wrong with it
			}
			if text, ok := part.Get("text"); ok && text.Kind() == rawjson.KindString {
				size += len(text)
			}
		}
	case rawjson.KindInvalid, rawjson.KindNull, rawjson.KindBool, rawjson.KindNumber, rawjson.KindObject:
	}
	return size
}

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
	n, err := v.Int64()
	return err == nil && n >= 0
}

// clamp keeps a bound that no engine can reach from overflowing sums of tokens.
func clamp(n int64) int { return int(min(n, math.MaxInt32)) }
