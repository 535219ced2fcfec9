package openai

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/baton-llm/baton/router/resume"
)

const hello = `"messages":[{"role":"user","content":"hello"}]`

func TestParseReadsWhatTheRouterNeeds(t *testing.T) {
	long := strings.Repeat("word", 100)
	for _, c := range []struct {
		name     string
		endpoint Endpoint
		body     string
		want     Plan
	}{
		{"chat", Chat, `{"model":"m","stream":true,"messages":[{"role":"user","content":"` + long + `"}]}`, Plan{Model: "m", Stream: true, PromptTokens: 100, Resume: resume.Terms{Chat: true, Able: true}}},
		{"parts count their text only", Chat, `{"messages":[{"role":"user","content":[{"type":"text","text":"` + long + `"},{"type":"image_url","image_url":{"url":"` + long + `"}}]}]}`, Plan{PromptTokens: 100}},
		{"max_completion_tokens wins", Chat, `{"max_tokens":5,"max_completion_tokens":7,` + hello + `}`, Plan{PromptTokens: 1, MaxTokens: 7}},
		{"an integer written as a float", Chat, `{"max_tokens":16.0,` + hello + `}`, Plan{PromptTokens: 1, MaxTokens: 16}},
		{"null is absent", Chat, `{"model":null,"stream":null,"n":null,"stop":null,"temperature":null,"max_tokens":null,"stream_options":null,"prompt_logprobs":null,"kv_transfer_params":null,` + hello + `}`, Plan{PromptTokens: 1}},
		{"a seed above 2^53 and unknown members", Chat, `{"seed":9223372036854775807,"brand_new":[{}],` + hello + `}`, Plan{PromptTokens: 1}},
		{"n", Chat, `{"n":2,` + hello + `}`, Plan{PromptTokens: 1, Whole: true}},
		{"one token", Chat, `{"max_tokens":1,` + hello + `}`, Plan{PromptTokens: 1, MaxTokens: 1, Whole: true}},
		{"a prompt cut to what max_tokens leaves", Chat, `{"truncate_prompt_tokens":-1,` + hello + `}`, Plan{PromptTokens: 1, Whole: true}},
		{"a prompt cut to a length", Chat, `{"truncate_prompt_tokens":64,` + hello + `}`, Plan{PromptTokens: 1}},
		{"beam search", Chat, `{"use_beam_search":true,` + hello + `}`, Plan{PromptTokens: 1, Whole: true}},
		{"prompt logprobs of 0", Chat, `{"prompt_logprobs":0,` + hello + `}`, Plan{PromptTokens: 1, Whole: true}},
		{"best_of 1, as old clients send", Completions, `{"prompt":"12345678","best_of":1}`, Plan{PromptTokens: 2, MaxTokens: 16}},
		{"best_of 2", Completions, `{"prompt":"12345678","best_of":2}`, Plan{PromptTokens: 2, MaxTokens: 16, Whole: true}},
		{"echo of no new token", Completions, `{"prompt":"12345678","echo":true,"max_tokens":0}`, Plan{PromptTokens: 2, Whole: true}},
		{"token ids", Completions, `{"prompt":[1,2,3],"max_tokens":9}`, Plan{PromptTokens: 3, MaxTokens: 9}},
		{"one array of token ids", Completions, `{"prompt":[[1,2,3]]}`, Plan{PromptTokens: 3, MaxTokens: 16}},
		{"two arrays of token ids", Completions, `{"prompt":[[1,2,3],[4]]}`, Plan{PromptTokens: 4, MaxTokens: 16, Whole: true}},
		{"one string in an array", Completions, `{"prompt":["12345678"]}`, Plan{PromptTokens: 2, MaxTokens: 16}},
		{"two strings", Completions, `{"prompt":["12345678","12345678"]}`, Plan{PromptTokens: 4, MaxTokens: 16, Whole: true}},
		{"embeddings of the prompt", Completions, `{"prompt_embeds":"AAAA"}`, Plan{MaxTokens: 16, Whole: true}},
		{"a huge bound", Completions, `{"prompt":[1],"max_tokens":9000000000000000000}`, Plan{PromptTokens: 1, MaxTokens: 1<<31 - 1}},
		{"a max_tokens that does not count", Chat, `{"max_tokens":-5,"max_completion_tokens":7,` + hello + `}`, Plan{PromptTokens: 1, MaxTokens: 7}},
		{"an integer beyond 64 bits", Chat, `{"max_tokens":1e30,` + hello + `}`, Plan{PromptTokens: 1, MaxTokens: 1<<31 - 1}},
		{"numbers in quotes are the engine's to read", Completions, `{"prompt":[1],"max_tokens":"500","min_tokens":20,"temperature":"0.5"}`, Plan{PromptTokens: 1, Whole: true}},
		{"best_of that no engine reads", Chat, `{"best_of":"x",` + hello + `}`, Plan{PromptTokens: 1}},
		{"other words for true", Chat, `{"stream":"Yes","logprobs":1,"top_logprobs":5,` + hello + `}`, Plan{Stream: true, PromptTokens: 1, Resume: resume.Terms{Chat: true}}},
		{"token ids with a point", Completions, `{"prompt":[1.0,2e0]}`, Plan{PromptTokens: 2, MaxTokens: 16}},
		{"no messages are the template's concern", Chat, `{"messages":[]}`, Plan{}},
		{"hot", Chat, `{"temperature":2.1,` + hello + `}`, Plan{PromptTokens: 1}},
		{"beam search reads no temperature", Chat, `{"use_beam_search":true,"temperature":-1,"top_p":0,` + hello + `}`, Plan{PromptTokens: 1, Whole: true}},
		{"many stops and choices", Chat, `{"stop":["a","b","c","d","e"],"n":129,` + hello + `}`, Plan{PromptTokens: 1, Whole: true}},
		{"usage", Chat, `{"stream":true,"stream_options":{"include_usage":true},` + hello + `}`, Plan{Stream: true, Usage: true, PromptTokens: 1, Resume: resume.Terms{Chat: true, Able: true, Usage: true}}},
		{"usage not wanted", Chat, `{"stream":true,"stream_options":{"include_usage":false,"continuous_usage_stats":true},` + hello + `}`, Plan{Stream: true, PromptTokens: 1, Resume: resume.Terms{Chat: true, Running: true}}},
		{"empty stream options without a stream", Chat, `{"stream_options":{},` + hello + `}`, Plan{PromptTokens: 1}},
		{"prompt logprobs of 0 in a stream", Completions, `{"prompt":[1],"stream":true,"prompt_logprobs":0}`, Plan{Stream: true, PromptTokens: 1, MaxTokens: 16, Whole: true}},
		{"echo in a stream", Completions, `{"prompt":[1],"stream":true,"echo":true}`, Plan{Stream: true, PromptTokens: 1, MaxTokens: 16, Whole: true}},
		{"guided decoding of old", Chat, `{"guided_json":{},"guided_choice":null,` + hello + `}`, Plan{PromptTokens: 1, Ignored: []string{"guided_json"}}},
		{"other", Other, `{"model":"m","input":"1234"}`, Plan{Model: "m", Whole: true, PromptTokens: 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.endpoint, []byte(c.body))
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		endpoint             Endpoint
		body, param, message string // message: a part of it
	}{
		{Chat, ``, "", "invalid JSON"},
		{Chat, `[]`, "", "no object"},
		{Chat, `{"a":1} x`, "", "follows"},
		{Chat, `{"a":1,"a":2}`, "", "duplicate"},
		{Chat, "{\"a\":\"\xff\"}", "", "byte 6, in /a: invalid UTF-8"},
		{Chat, `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "", "nesting"},
		{Chat, `{"model":5,` + hello + `}`, "model", "string"},
		{Chat, `{"stream":"maybe",` + hello + `}`, "stream", "true or false"},
		{Chat, `{}`, "messages", "required"},
		{Chat, `{"messages":"hi"}`, "messages", "array"},
		{Chat, `{"messages":["hi"]}`, "messages", "messages[0]"},
		{Chat, `{"messages":[{"role":"user"},{"content":"x"}]}`, "messages", "messages[1].role"},
		{Chat, `{"n":0,` + hello + `}`, "", "at least 1, got 0"},
		{Chat, `{"n":1.5,` + hello + `}`, "n", "integer"},
		{Chat, `{"max_tokens":0,` + hello + `}`, "max_tokens", "max_tokens must be at least 1, got 0."},
		{Chat, `{"max_tokens":-1,` + hello + `}`, "max_tokens", "got -1"},
		{Chat, `{"max_completion_tokens":0,` + hello + `}`, "max_tokens", "at least 1"},
		{Chat, `{"min_tokens":-1,` + hello + `}`, "", "greater than or equal to 0"},
		{Chat, `{"min_tokens":9,"max_tokens":8,` + hello + `}`, "", "max_tokens=8, got 9"},
		{Chat, `{"temperature":-0.1,` + hello + `}`, "temperature", "got -0.1"},
		{Chat, `{"top_p":0,` + hello + `}`, "top_p", "(0, 1]"},
		{Chat, `{"top_p":1.1,` + hello + `}`, "top_p", "(0, 1]"},
		{Chat, `{"stop":[1],` + hello + `}`, "stop", "strings"},
		{Chat, `{"stop":{},` + hello + `}`, "stop", "strings"},
		{Chat, `{"stream_options":{"include_usage":false},` + hello + `}`, "stream_options", "`stream=True`"},
		{Chat, `{"stream":true,"stream_options":1,` + hello + `}`, "stream_options", "object"},
		{Chat, `{"stream":true,"stream_options":{"include_usage":"maybe"},` + hello + `}`, "stream_options", "stream_options.include_usage must be true or false"},
		{Chat, `{"max_tokens":[5],` + hello + `}`, "max_tokens", "number"},
		{Chat, `{"temperature":{},` + hello + `}`, "temperature", "number"},
		{Chat, `{"max_tokens":0,"echo":true,` + hello + `}`, "max_tokens", "at least 1"},
		{Chat, `{"tools":[],` + hello + `}`, "tools", "must not be an empty array"},
		{Chat, `{"top_logprobs":1,` + hello + `}`, "top_logprobs", "`logprobs` must be set to true"},
		{Chat, `{"top_logprobs":-2,"logprobs":true,` + hello + `}`, "top_logprobs", "positive value or -1"},
		{Chat, `{"prompt_logprobs":-2,` + hello + `}`, "prompt_logprobs", "positive value or -1"},
		{Completions, `{"prompt":[1],"stream":true,"prompt_logprobs":1}`, "prompt_logprobs", "not available when `stream=True`"},
		{Completions, `{"prompt":[1],"max_tokens":0}`, "max_tokens", "at least 1, got 0."},
		{Completions, `{"prompt":[1],"max_tokens":-1,"echo":true}`, "max_tokens", "at least 0"},
		{Chat, `{"kv_transfer_params":{},` + hello + `}`, "kv_transfer_params", "must not be sent"},
		{Chat, `{"ec_transfer_params":1,` + hello + `}`, "ec_transfer_params", "must not be sent"},
		{Chat, `{"vllm_xargs":{"kv_transfer_params":"x"},` + hello + `}`, "vllm_xargs", "kv_transfer_params"},
		{Other, `{"kv_transfer_params":{}}`, "kv_transfer_params", "must not be sent"},
		{Completions, `{}`, "prompt", "non-empty"},
		{Completions, `{"prompt":null}`, "prompt", "non-empty"},
		{Completions, `{"prompt":""}`, "prompt", "non-empty"},
		{Completions, `{"prompt":[]}`, "prompt", "non-empty"},
		{Completions, `{"prompt":[[]]}`, "prompt", "empty array"},
		{Completions, `{"prompt":5}`, "prompt", "array of token ids"},
		{Completions, `{"prompt":[1,"a"]}`, "prompt", "array of token ids"},
		{Completions, `{"prompt":[1.5]}`, "prompt", "array of token ids"},
		{Completions, `{"prompt":[-1]}`, "prompt", "array of token ids"},
		{Completions, `{"prompt":[["a"]]}`, "prompt", "array of token ids"},
		{Completions, `{"prompt":[{}]}`, "prompt", "array of token ids"},
		{Completions, `{"prompt":"a","min_tokens":17}`, "", "max_tokens=16"},
	} {
		t.Run(c.body[:min(len(c.body), 40)], func(t *testing.T) {
			_, err := Parse(c.endpoint, []byte(c.body))
			var fault *Fault
			if !errors.As(err, &fault) {
				t.Fatalf("Parse = %v, want a *Fault", err)
			}
			if fault.Param != c.param || !strings.Contains(fault.Message, c.message) {
				t.Errorf("fault of %q says %q, want of %q with %q", fault.Param, fault.Message, c.param, c.message)
			}
		})
	}
}

// Whatever a client sends, it is read without a panic, not changed, and planned within bounds.
func FuzzParse(f *testing.F) {
	for _, body := range []string{
		`{}`, `{` + hello + `}`, `{"stream":true,"stream_options":{"include_usage":true},"max_tokens":16.0,` + hello + `}`,
		`{"prompt":[[1,2],[3]],"n":2,"stop":["a"]}`, `{"prompt":["a","b"],"min_tokens":"1"}`, `{"tools":[],"top_logprobs":-1,` + hello + `}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"vllm_xargs":{"a":1}}`, `{"prompt":"x","max_tokens":1e400}`,
	} {
		f.Add(uint8(Chat), []byte(body))
		f.Add(uint8(Completions), []byte(body))
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, body []byte) {
		sent := bytes.Clone(body)
		plan, err := Parse(Endpoint(endpoint%3), body)
		if !bytes.Equal(sent, body) {
			t.Fatalf("the body was changed to %q", body)
		}
		var fault *Fault
		switch {
		case err != nil && (!errors.As(err, &fault) || fault.Message == "" || !cmp.Equal(plan, Plan{})):
			t.Errorf("Parse = %+v, %v, want a *Fault that says something and no plan", plan, err)
		case plan.PromptTokens < 0 || plan.PromptTokens > len(body):
			t.Errorf("%d prompt tokens in %d bytes", plan.PromptTokens, len(body))
		case plan.MaxTokens < 0 || plan.MaxTokens > math.MaxInt32:
			t.Errorf("at most %d tokens", plan.MaxTokens)
		case plan.Usage && !plan.Stream:
			t.Error("usage of a stream that is none")
		}
	})
}
