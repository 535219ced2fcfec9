// Package openai reads the few members of an OpenAI-style body that baton acts on and refuses
// what an engine would refuse for certain. It owns the rules for those members. It never changes
// a body, ignores members it does not know (vLLM takes many more than OpenAI), and knows nothing
// of HTTP.
package openai

import (
	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/router/resume"
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
	Model        string       // "": the body names none
	Stream       bool         // the client wants server-sent events
	Usage        bool         // and the token counts among them
	Resume       resume.Terms // how a streamed answer can be continued
	Whole        bool         // gains nothing from, or cannot stand, being split into prefill and decode
	PromptTokens int          // estimate by size of the text; exact for token ids
	MaxTokens    int          // most tokens of one answer; 0: the body names no bound
	Prefix       []uint64     // hash chain over the prompt's text, see wire.PrefillJob

	Ignored []string // members that mean something to their sender and nothing to today's vLLM
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
		m.generation(&p, endpoint)
		m.chat()
		tools, _ := m.get("tools") // templates print them before the messages
		messages, _ := m.get("messages")
		p.Prefix = prefix(tools, messages)
	case Completions:
		p.MaxTokens = defaultMaxTokens
		m.generation(&p, endpoint)
		m.prompt(&p)
		text, _ := m.get("prompt")
		p.Prefix = prefix(text)
	case Other:
		p.Whole = true
		p.PromptTokens = len(body) / bytesPerToken
	}
	p.Whole = p.Whole || m.loose || p.MaxTokens == 1
	if p.Stream && endpoint != Other && !m.loose {
		p.Resume = resume.TermsOf(endpoint == Chat, object)
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
