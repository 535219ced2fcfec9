package decode

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/wire"
)

// askUsage has the engine count the tokens of a stream for baton's own books, where the client did
// not ask: the meter then takes the event out of the stream again. It changes the member
// include_usage alone, and nothing where the body has one that may mean true or asks for running
// counts: there the client sees what the engine makes of its own words.
func askUsage(body []byte) (edited []byte, ok bool, err error) {
	object, err := rawjson.Reparse(body)
	if err != nil {
		return nil, false, fmt.Errorf("ask for usage: %w", err)
	}
	member, _ := object.Get("stream_options")
	if member.Kind() == rawjson.KindInvalid || member.Kind() == rawjson.KindNull {
		return object.Edit(rawjson.Set("stream_options", []byte(`{"include_usage":true}`))), true, nil
	}
	options, err := member.Object()
	if err != nil || !off(options, "include_usage") || !off(options, "continuous_usage_stats") {
		return body, false, nil //nolint:nilerr // what is no object is the engine's to refuse
	}
	return object.Edit(rawjson.Set("stream_options", options.Edit(rawjson.Set("include_usage", []byte("true"))))), true, nil
}

// askRunning has the engine count in every event, for a frontend that takes out what its client did not
// ask for.
func askRunning(body []byte) ([]byte, error) {
	object, err := rawjson.Reparse(body)
	if err != nil {
		return nil, fmt.Errorf("ask for running counts: %w", err)
	}
	running := []byte(`{"include_usage":true,"continuous_usage_stats":true}`)
	member, _ := object.Get("stream_options")
	if options, err := member.Object(); err == nil {
		running = options.Edit(rawjson.Set("include_usage", []byte("true")), rawjson.Set("continuous_usage_stats", []byte("true")))
	}
	return object.Edit(rawjson.Set("stream_options", running)), nil
}

// off tells whether a member is absent, null or false.
func off(o *rawjson.Object, name string) bool {
	v, ok := o.Get(name)
	return !ok || string(v) == "null" || string(v) == "false"
}

// meter reads what an answer used. Counts only grow, so the largest of each is the total.
type meter struct {
	running bool // counts are in every event
	total   wire.EndInfo
	last    []byte // event with counts that was not read
}

// They begin behind a quote, of which events are full: so little of an event is looked at twice. As bytes, an event with
// a text that quotes them has backslashes.
var (
	usageMember = []byte(`usage"`)
	someChoice  = []byte(`choices":[{`)
)

// counts is a usage object in the words of chat and completions, or of responses and messages.
type counts struct {
	Prompt     int     `json:"prompt_tokens"`
	Completion int     `json:"completion_tokens"`
	Details    details `json:"prompt_tokens_details"`

	Input        int     `json:"input_tokens"`
	Output       int     `json:"output_tokens"`
	InputDetails details `json:"input_tokens_details"`
	CacheRead    int     `json:"cache_read_input_tokens"`
}

type details struct {
	Cached int `json:"cached_tokens"`
}

// read takes the usage of one event or of a whole answer, if it has one. onlyUsage tells whether
// there is nothing else in it: the last event of a stream that was asked to count.
func (m *meter) read(payload []byte) (onlyUsage bool) {
	if m.running {
		if at := bytes.Index(payload, someChoice); at >= 0 && bytes.Contains(payload[at:], usageMember) {
			m.last = append(m.last[:0], payload...) // they grow: one is read for all
			return false
		}
	}
	if !bytes.Contains(payload, usageMember) {
		return false
	}
	if onlyUsage = m.count(payload); onlyUsage {
		m.last = m.last[:0] // of an event before it
	}
	return onlyUsage
}

// sum is the total, at the end.
func (m *meter) sum() wire.EndInfo {
	if len(m.last) > 0 {
		m.count(m.last)
	}
	return m.total
}

func (m *meter) count(payload []byte) (onlyUsage bool) {
	var p struct {
		Choices  []struct{} `json:"choices"`
		Usage    *counts    `json:"usage"`
		Response struct {
			Usage *counts `json:"usage"`
		} `json:"response"`
		Message struct {
			Usage *counts `json:"usage"`
		} `json:"message"`
	}
	// An error is about members of another type than these; the others are there.
	_ = json.Unmarshal(payload, &p)
	for _, c := range []*counts{p.Usage, p.Response.Usage, p.Message.Usage} {
		if c != nil {
			m.total.PromptTokens = max(m.total.PromptTokens, c.Prompt, c.Input)
			m.total.CompletionTokens = max(m.total.CompletionTokens, c.Completion, c.Output)
			m.total.CachedTokens = max(m.total.CachedTokens, c.Details.Cached, c.InputDetails.Cached, c.CacheRead)
		}
	}
	return p.Usage != nil && p.Choices != nil && len(p.Choices) == 0
}
