// Package resume continues an answer whose first part its client already has. It follows the events of
// one stream, makes the body that asks another engine for the rest, and edits what then comes so that the
// client sees one answer. It alone knows the form of the events of chat and completions; it does no I/O.
//
// The text is what an answer is continued from: the engine tokenizes it again, behind the prompt. So that
// lengths and counts stay right, engines count the tokens in each event (continuous_usage_stats), and the
// counts that the client did not ask for are taken out again.
package resume

import (
	"slices"
	"strconv"

	"github.com/baton-llm/baton/internal/rawjson"
)

// defaultMaxTokens is the length of a completion that names none.
const defaultMaxTokens = 16

// Terms are what the body of a streamed request says about continuing its answer.
type Terms struct {
	Chat    bool // else it is a completion
	Able    bool // an answer can be continued exactly
	Usage   bool // the client wants the counts at the end
	Running bool // and in each event
}

// TermsOf reads them from the body of a chat or a completion. Members that it does not know may mean
// anything: with any of them an answer is not continued.
func TermsOf(chat bool, body *rawjson.Object) Terms {
	t := Terms{Chat: chat, Able: true}
	for name := range body.Names() {
		v, _ := body.Get(name)
		if v.Kind() == rawjson.KindNull || slices.Contains(plain, name) {
			continue
		}
		allowed, known := only[name]
		t.Able = t.Able && known && allowed(v)
	}
	if options, ok := body.Get("stream_options"); ok && options.Kind() != rawjson.KindNull {
		t.Usage, t.Running = isTrue(options, "include_usage"), isTrue(options, "continuous_usage_stats")
		t.Able = t.Able && (t.Usage || !t.Running) // else engines differ in what they count
	}
	prompt, _ := body.Get("prompt")
	_, isText := promptText(prompt)
	t.Able = t.Able && (chat || isText) && (!seeded(body) || greedy(body))
	return t
}

// plain are the members with which an answer is continued whatever their value.
var plain = []string{
	"model", "messages", "prompt", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
	"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "logit_bias", "allowed_token_ids", "seed", "ignore_eos", "stop_token_ids",
	"priority", "cache_salt", "session_id", "parallel_tool_calls", "chat_template_kwargs", "stream_options",
}

// only are those with which it depends on the value. Penalties of what was answered count from the break
// on; a stop string may lie across it, and text that may be its beginning is held back and yet counted.
var only = map[string]func(rawjson.Value) bool{
	"stream":                 is("true"),
	"n":                      is("1"),
	"best_of":                is("1"),
	"echo":                   is("false"),
	"logprobs":               is("false"),
	"top_logprobs":           is("0"),
	"use_beam_search":        is("false"),
	"skip_special_tokens":    is("true"),
	"include_reasoning":      is("true"),
	"continue_final_message": is("false"),
	"add_generation_prompt":  is("true"),
	"return_token_ids":       is("false"),
	"stop":                   is("[]"),
	"suffix":                 is(`""`),
	"tool_choice":            is(`"none"`),
	"response_format":        isPlainFormat,
	"presence_penalty":       isZero,
	"frequency_penalty":      isZero,
	"max_tokens":             isCount,
	"max_completion_tokens":  isCount,
	"min_tokens":             isCount,
}

func is(text string) func(rawjson.Value) bool {
	return func(v rawjson.Value) bool { return string(v) == text }
}

func isZero(v rawjson.Value) bool {
	f, err := strconv.ParseFloat(string(v), 64)
	return err == nil && f == 0
}

func isCount(v rawjson.Value) bool {
	n, err := v.Int64()
	return err == nil && n >= 0
}

func isPlainFormat(v rawjson.Value) bool {
	format, err := v.Object()
	if err != nil {
		return false
	}
	kind, _ := format.Get("type")
	return string(kind) == `"text"`
}

func isTrue(v rawjson.Value, name string) bool {
	o, err := v.Object()
	if err != nil {
		return false
	}
	member, _ := o.Get(name)
	return string(member) == "true"
}

// seeded: with a seed the client wants the same answer again, and the draws of a run that continues
// begin anew.
func seeded(body *rawjson.Object) bool {
	v, ok := body.Get("seed")
	return ok && v.Kind() != rawjson.KindNull
}

func greedy(body *rawjson.Object) bool {
	v, _ := body.Get("temperature")
	return isZero(v)
}

// promptText is the one text that a prompt is; false if it is none.
func promptText(prompt rawjson.Value) (text rawjson.Value, ok bool) {
	if prompt.Kind() == rawjson.KindString {
		return prompt, true
	}
	count := 0
	for e, err := range prompt.Array() {
		if count++; err != nil || count > 1 || e.Kind() != rawjson.KindString {
			return nil, false
		}
		text = e
	}
	return text, count == 1
}
