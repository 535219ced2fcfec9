package openai

import (
	"math"

	"github.com/baton-llm/baton/internal/rawjson"
)

// generation reads what chat and completions share.
func (m *members) generation(p *Plan, endpoint Endpoint) {
	echo := m.flag("echo")
	n, ok := m.integer("n")
	if ok && n < 1 {
		m.fail("", "n must be at least 1, got %d.", n) // vLLM names no param here, nor for min_tokens
	}
	bestOf, _ := m.peek("best_of")
	promptLogprobs := m.promptLogprobs(p.Stream)
	beam := m.flag("use_beam_search")
	// A negative one leaves room for max_tokens, which differs on the prefill leg, and so would the prompt.
	truncate, _ := m.integer("truncate_prompt_tokens")
	p.Whole = echo || n > 1 || bestOf > 1 || promptLogprobs || beam || truncate < 0

	m.maxTokens(p, endpoint, echo)
	if !beam { // which reads none of these
		m.minTokens(p.MaxTokens)
		if t, ok := m.number("temperature"); ok && t < 0 { // above 2, engines differ
			m.fail("temperature", "temperature must be non-negative, got %v.", t)
		}
		if t, ok := m.number("top_p"); ok && (t <= 0 || t > 1) {
			m.fail("top_p", "top_p must be in (0, 1], got %v.", t)
		}
	}
	m.stop()
	m.streamOptions(p)
	for _, name := range []string{"guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_decoding_backend"} {
		if _, ok := m.get(name); ok {
			p.Ignored = append(p.Ignored, name)
		}
	}
}

// chat checks what only chat has.
func (m *members) chat() {
	if v, ok := m.get("tools"); ok && v.Kind() == rawjson.KindArray && isEmptyArray(v) {
		m.fail("tools", "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.")
	}
	top, ok := m.integer("top_logprobs")
	switch {
	case !ok:
	case top < 0 && top != -1:
		m.fail("top_logprobs", "`top_logprobs` must be a positive value or -1.")
	case top != 0 && !m.flag("logprobs"):
		m.fail("top_logprobs", "when using `top_logprobs`, `logprobs` must be set to true.")
	}
}

// maxTokens reads the bound on the answer. A chat's max_completion_tokens wins over max_tokens,
// whose value is then nobody's concern; a completion may ask for no token if it echoes the prompt.
func (m *members) maxTokens(p *Plan, endpoint Endpoint, echo bool) {
	name, least := "max_tokens", int64(1)
	if endpoint == Completions && echo {
		least = 0
	}
	if _, ok := m.get("max_completion_tokens"); ok && endpoint == Chat {
		name = "max_completion_tokens"
	}
	if _, ok := m.get(name); !ok {
		return
	}
	n, ok := m.integer(name)
	if ok && n < least {
		m.fail("max_tokens", "max_tokens must be at least %d, got %d.", least, n) // by whatever name it came
	}
	p.MaxTokens = clamp(n)
}

func (m *members) minTokens(most int) {
	n, ok := m.integer("min_tokens")
	switch {
	case ok && n < 0:
		m.fail("", "min_tokens must be greater than or equal to 0, got %d.", n)
	case ok && most > 0 && n > int64(most):
		m.fail("", "min_tokens must be less than or equal to max_tokens=%d, got %d.", most, n)
	}
}

// promptLogprobs tells whether the body asks for them.
func (m *members) promptLogprobs(stream bool) bool {
	n, ok := m.integer("prompt_logprobs")
	switch {
	case ok && stream && (n > 0 || n == -1):
		m.fail("prompt_logprobs", "`prompt_logprobs` are not available when `stream=True`.")
	case ok && n < -1:
		m.fail("prompt_logprobs", "`prompt_logprobs` must be a positive value or -1.")
	}
	_, asked := m.get("prompt_logprobs")
	return asked
}

// stop takes a string or any number of them.
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

// streamOptions reads whether the client wants usage. An empty object without a stream is no fault.
func (m *members) streamOptions(p *Plan) {
	v, ok := m.get("stream_options")
	if !ok {
		return
	}
	object, err := v.Object()
	if err != nil {
		m.fail("stream_options", "stream_options must be an object")
		return
	}
	for range object.Names() {
		if !p.Stream {
			m.fail("stream_options", "Stream options can only be defined when `stream=True`.")
			return
		}
	}
	options := &members{object: object}
	p.Usage = options.flag("include_usage")
	if options.err != nil {
		m.fail("stream_options", "stream_options.%s", options.err)
	}
}

// clamp keeps a bound that no engine can reach from overflowing sums of tokens.
func clamp(n int64) int { return int(min(n, math.MaxInt32)) }
