package resume_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/router/resume"
	"pgregory.net/rapid"
)

const (
	hello = `"messages":[{"role":"user","content":"hi"}]`
	limit = 1 << 10
)

// fatal is a test, or a check of a property.
type fatal interface {
	Helper()
	Fatal(args ...any)
}

func terms(t fatal, chat bool, body string) resume.Terms {
	t.Helper()
	o, err := rawjson.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return resume.TermsOf(chat, o)
}

func TestWhatCanBeContinued(t *testing.T) {
	for _, tt := range []struct {
		members string
		chat    bool
		able    bool
	}{
		{hello, true, true},
		{hello + `,"max_tokens":5,"min_tokens":1,"temperature":0.7,"top_p":0.9,"top_k":5,"n":1,"stop":null,"ignore_eos":true,"user":"u"`, true, true},
		{hello + `,"seed":7,"temperature":0`, true, true},
		{hello + `,"seed":7`, true, false},
		{hello + `,"tools":[{"type":"function","function":{"name":"f"}}]`, true, false},
		{hello + `,"tool_choice":"none"`, true, true},
		{hello + `,"response_format":{"type":"text"}`, true, true},
		{hello + `,"response_format":{"type":"json_object"}`, true, false},
		{hello + `,"structured_outputs":{"choice":["a"]}`, true, false},
		{hello + `,"n":2`, true, false},
		{hello + `,"logprobs":false`, true, true},
		{hello + `,"logprobs":true`, true, false},
		{hello + `,"stop":["a"]`, true, false},
		{hello + `,"stop":[]`, true, true},
		{hello + `,"presence_penalty":0.0,"repetition_penalty":1.1`, true, true},
		{hello + `,"frequency_penalty":0.5`, true, false},
		{hello + `,"max_tokens":16.0`, true, false},
		{hello + `,"continue_final_message":true,"add_generation_prompt":false`, true, false},
		{hello + `,"return_token_ids":true`, true, false},
		{hello + `,"something_new":1`, true, false},
		{hello + `,"something_new":null`, true, true},
		{hello + `,"stream_options":{"continuous_usage_stats":true}`, true, false},
		{`"prompt":"a"`, false, true},
		{`"prompt":["a"]`, false, true},
		{`"prompt":["a","b"]`, false, false},
		{`"prompt":[1,2]`, false, false},
		{`"prompt":"a","echo":true`, false, false},
		{`"prompt":"a","logprobs":0`, false, false},
		{`"prompt":"a","suffix":"b"`, false, false},
		{`"prompt":"a","use_beam_search":true`, false, false},
	} {
		if got := terms(t, tt.chat, `{"model":"m","stream":true,`+tt.members+`}`); got.Able != tt.able {
			t.Errorf("%s: able is %t, want %t", tt.members, got.Able, tt.able)
		}
	}
}

// event is a chunk of an engine's answer.
func event(chat bool, id string, text, finish string, prompt, tokens int) string {
	content := fmt.Sprintf(`"text":%s`, text)
	if chat {
		content = fmt.Sprintf(`"delta":{"content":%s}`, text)
	}
	return fmt.Sprintf(`{"id":"%s","object":"o","created":%d,"model":"m","choices":[{"index":0,%s,"logprobs":null,"finish_reason":%s}],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}}`,
		id, len(id), content, finish, prompt, prompt+tokens, tokens)
}

func role(id string, prompt int) string {
	return fmt.Sprintf(`{"id":"%s","object":"o","created":%d,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":0}}`,
		id, len(id), prompt, prompt)
}

func counts(id string, prompt, tokens, cached int) string {
	return fmt.Sprintf(`{"id":"%s","object":"o","created":%d,"model":"m","choices":[],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}}`,
		id, len(id), prompt, prompt+tokens, tokens, cached)
}

// feed returns what the client gets of an event; "": nothing.
func feed(t testing.TB, tr *resume.Transcript, data string) string {
	t.Helper()
	out, err := one(tr, data)
	if err != nil {
		t.Fatalf("event %s: %v", data, err)
	}
	return string(out)
}

// one gives a transcript one event and returns the data of what the client gets; nil: nothing.
func one(tr *resume.Transcript, data string) ([]byte, error) {
	out, err := tr.Events(nil, sse.Append(nil, nil, []byte(data)))
	if len(out) == 0 {
		return nil, err
	}
	event, rest := sse.Cut(out)
	if len(rest) > 0 {
		return nil, fmt.Errorf("of one event come several: %q", out)
	}
	return event, err
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is\n%s, want\n%s", what, got, want)
	}
}

// bare is an event without its counts.
func bare(data string) string {
	at := strings.Index(data, `,"usage":{`)
	return data[:at] + "}"
}

func TestChatGoesOn(t *testing.T) {
	body := `{"model":"m", "messages":[{"role":"user","content":"hi"} ], "max_tokens":9, "min_tokens":4,"stream":true}`
	tr := resume.New(terms(t, true, body), limit)
	same(t, "role", feed(t, tr, role("one", 12)), bare(role("one", 12)))
	same(t, "first", feed(t, tr, event(true, "one", `" a\"b"`, "null", 12, 1)), bare(event(true, "one", `" a\"b"`, "null", 12, 1)))
	feed(t, tr, event(true, "one", `"\u00e4 c"`, "null", 12, 3)) // two tokens in one
	feed(t, tr, event(true, "one", `""`, "null", 12, 4))         // one that shows no text yet
	if !tr.Able() || tr.Tokens() != 3 {
		t.Fatalf("able is %t with %d tokens, want 3", tr.Able(), tr.Tokens())
	}
	asked, most, err := tr.Body([]byte(body))
	if err != nil || most != 6 {
		t.Fatalf("Body = %d tokens, %v; want 6", most, err)
	}
	same(t, "body", string(asked), `{"model":"m", "messages":[{"role":"user","content":"hi"},{"role":"assistant","content":" a\"b\u00e4 c"}], "max_tokens":6, "min_tokens":1,"stream":true,"continue_final_message":true,"add_generation_prompt":false}`)

	tr.Next()
	same(t, "second role", feed(t, tr, role("other", 15)), "")
	want := strings.Replace(bare(event(true, "one", `" d"`, "null", 0, 0)), "other", "one", 1)
	same(t, "continued", feed(t, tr, event(true, "other", `" d"`, "null", 15, 1)), want)
	if tr.Tokens() != 4 {
		t.Errorf("%d tokens after the second run's first, want 4", tr.Tokens())
	}
	feed(t, tr, event(true, "other", `" e"`, `"length"`, 15, 6))
	same(t, "counts that nobody asked for", feed(t, tr, counts("other", 15, 6, 14)), "")
	if p, c, k := tr.Total(15, 6, 14); p != 12 || c != 9 || k != 12 {
		t.Errorf("total is %d, %d, %d; want 12, 9, 12", p, c, k)
	}
	if tr.Able() {
		t.Error("an answer that is complete can be continued")
	}
}

func TestCompletionGoesOnTwice(t *testing.T) {
	body := `{"prompt":["once"],"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`
	tr := resume.New(terms(t, false, body), limit)
	first := event(false, "one", `" x"`, "null", 5, 1)
	same(t, "first", feed(t, tr, first), first)
	for run, want := range []string{`{"prompt":"once x","stream":true`, `{"prompt":"once x y","stream":true`} {
		asked, most, err := tr.Body([]byte(body))
		if err != nil || most != 16-run-1 || !strings.HasPrefix(string(asked), want) || !strings.Contains(string(asked), fmt.Sprintf(`"max_tokens":%d`, most)) {
			t.Fatalf("body is %s, %d, %v; want %s", asked, most, err, want)
		}
		tr.Next()
		id := []string{"other", "one"}[run] // a run may look as the first one
		got := feed(t, tr, event(false, id, `" y"`, "null", 6+run, 1))
		same(t, "continued", got, event(false, "one", `" y"`, "null", 5, run+2))
	}
	same(t, "end", feed(t, tr, event(false, "other", `""`, `"stop"`, 7, 2)), event(false, "one", `""`, `"stop"`, 5, 4))
	same(t, "counts", feed(t, tr, counts("other", 7, 2, 6)), counts("one", 5, 4, 5))
}

// Before the first token nothing is to be continued: the same body does.
func TestRunThatSentNoText(t *testing.T) {
	body := []byte(`{` + hello + `,"max_tokens":9,"stream":true}`)
	tr := resume.New(terms(t, true, string(body)), limit)
	feed(t, tr, role("one", 12))
	asked, most, err := tr.Body(body)
	if err != nil || string(asked) != string(body) || most != 9 {
		t.Errorf("Body = %s, %d, %v", asked, most, err)
	}
	tr.Next()
	same(t, "second role", feed(t, tr, role("other", 12)), "")
	same(t, "first text", feed(t, tr, event(true, "other", `"a"`, "null", 12, 1)), bare(event(true, "one", `"a"`, "null", 12, 1)))
}

func TestRoleAndTextInOneEvent(t *testing.T) {
	body := `{` + hello + `,"stream":true}`
	tr := resume.New(terms(t, true, body), limit)
	both := strings.Replace(role("one", 12), `"content":""`, `"content":"a"`, 1)
	both = strings.Replace(both, `"completion_tokens":0`, `"completion_tokens":1`, 1)
	feed(t, tr, both)
	tr.Next()
	got := feed(t, tr, strings.Replace(both, `"prompt_tokens":12`, `"prompt_tokens":13`, 1))
	if strings.Contains(got, "role") || !strings.Contains(got, `"delta":{"content":"a"}`) {
		t.Errorf("the client gets %s", got)
	}
}

func TestAnswersThatCannotBeContinued(t *testing.T) {
	choice := func(members string) string {
		return `{"id":"a","created":1,"choices":[{"index":0,"delta":{"content":"x"` + members + `}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`
	}
	for name, data := range map[string]string{
		"not counted":     bare(event(true, "a", `"x"`, "null", 1, 1)),
		"a call":          choice(`,"tool_calls":[{"index":0}]}`),
		"reasoning":       choice(`,"reasoning":"y"}`),
		"logprobs":        choice(`},"logprobs":{"content":[]}`),
		"token ids":       choice(`},"token_ids":[1]`),
		"another choice":  strings.Replace(choice(`}`), `"index":0`, `"index":1`, 1),
		"two choices":     strings.Replace(choice(`}`), `"choices":[`, `"choices":[{"index":0,"delta":{}},`, 1),
		"no choices":      `{"id":"a","created":1}`,
		"no JSON":         `x`,
		"too much":        event(true, "a", `"`+strings.Repeat("x", limit+1)+`"`, "null", 1, 1),
		"no id":           `{"created":1,"choices":[]}`,
		"content no text": event(true, "a", `5`, "null", 1, 1),
	} {
		tr := resume.New(terms(t, true, `{`+hello+`,"stream":true}`), limit)
		if out, err := one(tr, data); err != nil || out == nil {
			t.Errorf("%s: Events = %q, %v; the client gets it all the same", name, out, err)
		}
		if tr.Able() {
			t.Errorf("%s: can be continued", name)
		}
	}
	if resume.New(resume.Terms{}, limit) != nil || resume.New(terms(t, true, `{`+hello+`}`), 0) != nil {
		t.Error("there is a transcript of what is not continued")
	}
	var none *resume.Transcript
	if none.Able() {
		t.Error("no transcript is able")
	}
}

// A run whose engine made another prompt of the text so far is given up before the client has any of it.
func TestRunThatDoesNotContinue(t *testing.T) {
	for name, first := range map[string]string{
		"a template that changes the text": role("other", 14),
		"an engine that does not count":    bare(role("other", 13)),
		"something else":                   `{}`,
	} {
		tr := resume.New(terms(t, true, `{`+hello+`,"stream":true}`), limit)
		feed(t, tr, role("one", 12))
		feed(t, tr, event(true, "one", `"a"`, "null", 12, 1))
		tr.Next()
		if out, err := one(tr, first); !errors.Is(err, resume.ErrOther) || out != nil || tr.Able() {
			t.Errorf("%s: Events = %q, %v; able %t", name, out, err, tr.Able())
		}
	}
}

func TestOnlyTheEndIsMissing(t *testing.T) {
	for _, usage := range []bool{false, true} {
		tr := resume.New(terms(t, false, fmt.Sprintf(`{"prompt":"a","stream":true,"stream_options":{"include_usage":%t}}`, usage)), limit)
		feed(t, tr, event(false, "one", `"x"`, "null", 3, 1))
		if _, ok := tr.Complete(); ok {
			t.Error("an answer without its end is complete")
		}
		feed(t, tr, event(false, "one", `"y"`, `"stop"`, 3, 2))
		got, ok := tr.Complete()
		want := ""
		if usage {
			want = "data: " + strings.Replace(counts("one", 3, 2, 0), `,"prompt_tokens_details":{"cached_tokens":0}`, "", 1) + "\n\n"
		}
		if !ok || string(got) != want {
			t.Errorf("Complete = %s, %t; want %s", got, ok, want)
		}
	}
}

func TestAnswerThatHasItsLength(t *testing.T) {
	tr := resume.New(terms(t, false, `{"prompt":"a","max_tokens":1,"stream":true}`), limit)
	feed(t, tr, event(false, "one", `"x"`, "null", 3, 1))
	if _, _, err := tr.Body([]byte(`{"prompt":"a","max_tokens":1,"stream":true}`)); err == nil {
		t.Error("there is a body that asks for no token")
	}
}

// An event that has the form of those before it is not read as JSON, with the same result: after another
// event of its own form and after one of a form that tells nothing.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{event(true, "a", `"x"`, "null", 3, 2), event(true, "a", `"\n"`, "null", 3, 2), event(true, "a", `"x"`, `"stop"`, 3, 2), event(true, "a", `""`, "null", 3, 2)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		var got [2]string
		for i, first := range []string{event(true, "a", `"y"`, "null", 3, 1), strings.Replace(event(true, "a", `"y"`, "null", 3, 1), ":", " : ", 20)} {
			tr := resume.New(terms(t, true, `{`+hello+`,"stream":true}`), limit)
			feed(t, tr, first)
			out, err := one(tr, data)
			asked, most, bodyErr := tr.Body([]byte(`{` + hello + `,"max_tokens":99,"stream":true}`))
			got[i] = fmt.Sprintf("%s %v %t %d %s %d %v", out, err, tr.Able(), tr.Tokens(), asked, most, bodyErr)
		}
		if got[0] != got[1] {
			t.Errorf("event %q gives\n%s, read as JSON\n%s", data, got[0], got[1])
		}
	})
}

// How events are put into frames changes neither what the client gets nor how the answer goes on.
func TestFramesAreTheSameAsTheirEvents(t *testing.T) {
	texts := []string{`"a"`, `" b"`, `"\n"`, `"ä"`, `"\u00e4\"}}"`, `""`, `"` + strings.Repeat("x", 50) + `"`}
	rapid.Check(t, func(t *rapid.T) {
		chat := rapid.Bool().Draw(t, "chat")
		body := fmt.Sprintf(`{"prompt":"a",%s,"max_tokens":500,"stream":true,"stream_options":{"include_usage":%t,"continuous_usage_stats":false}}`, hello, rapid.Bool().Draw(t, "usage"))
		if rapid.Bool().Draw(t, "running") {
			body = fmt.Sprintf(`{"prompt":"a",%s,"max_tokens":500,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`, hello)
		}
		few := rapid.SampledFrom([]int{limit, 20}).Draw(t, "limit")
		single, framed := resume.New(terms(t, chat, body), few), resume.New(terms(t, chat, body), few)
		runs := rapid.IntRange(1, 3).Draw(t, "runs")
		for run := range runs {
			id := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "id")
			prompt := 5 + single.Tokens()
			var events [][]byte
			add := func(data string) { events = append(events, sse.Append(nil, nil, []byte(data))) }
			if chat {
				add(role(id, prompt))
			}
			n := rapid.IntRange(0, 12).Draw(t, "events")
			fault := -1
			if run == runs-1 {
				fault = rapid.IntRange(-12, n).Draw(t, "fault")
			}
			for i := range n {
				if i == fault {
					add(rapid.SampledFrom([]string{`{"another":"form"}`, "{\n}", bare(event(chat, id, `"x"`, "null", prompt, i+1))}).Draw(t, "of another form"))
				}
				add(event(chat, id, rapid.SampledFrom(texts).Draw(t, "text"), "null", prompt, i+1))
			}
			if rapid.Bool().Draw(t, "complete") {
				add(event(chat, id, `""`, `"stop"`, prompt, n))
				add(counts(id, prompt, n, 1))
			}
			var got, want []byte
			var gotErr, wantErr error
			for _, e := range events {
				var out []byte
				if out, wantErr = single.Events(nil, e); wantErr != nil {
					want = append(want, out...)
					break
				}
				want = append(want, out...)
			}
			for len(events) > 0 && gotErr == nil {
				k := rapid.IntRange(1, len(events)).Draw(t, "in a frame")
				var out []byte
				out, gotErr = framed.Events(nil, slices.Concat(events[:k]...))
				got = append(got, out...)
				events = events[k:]
			}
			if string(got) != string(want) || !errors.Is(gotErr, wantErr) {
				t.Fatalf("in frames the client gets\n%s(%v), want\n%s(%v)", got, gotErr, want, wantErr)
			}
			if a, b := state(single, body), state(framed, body); a != b {
				t.Fatalf("after frames the transcript is\n%s, want\n%s", b, a)
			}
			if !single.Able() {
				return
			}
			single.Next()
			framed.Next()
		}
	})
}

// state is all that a transcript tells.
func state(tr *resume.Transcript, body string) string {
	asked, most, err := tr.Body([]byte(body))
	prompt, completion := tr.Counts()
	end, complete := tr.Complete()
	return fmt.Sprintf("%t %d %d %d %d %s %d %v %s %t", tr.Able(), tr.Seen(), tr.Tokens(), prompt, completion, asked, most, err, end, complete)
}

// Whatever an engine sends, what the client gets is JSON if that was, and a body that continues is one.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{role("a", 3), event(true, "a", `"\ud83d"`, "null", 3, 1), event(false, "a", `"x"`, `"stop"`, 3, 1), counts("a", 3, 1, 2), `{}`, `[`} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		for _, chat := range []bool{false, true} {
			body := `{"prompt":"a","messages":[],"max_tokens":100,"stream":true}`
			tr := resume.New(terms(t, chat, body), limit)
			for run, data := range []string{first, second, first} {
				out, err := one(tr, data)
				if err != nil && !errors.Is(err, resume.ErrOther) || err != nil && out != nil {
					t.Fatalf("Events(%q) = %q, %v", data, out, err)
				}
				if json.Valid([]byte(data)) && out != nil && !json.Valid(out) {
					t.Fatalf("the client gets %q of %q", out, data)
				}
				if event, ok := tr.Complete(); ok && event != nil && !json.Valid(bytes.TrimPrefix(event, []byte("data: "))) {
					t.Fatalf("the last event is %q", event)
				}
				if !tr.Able() || run > 1 {
					continue
				}
				asked, _, err := tr.Body([]byte(body))
				if err == nil && !json.Valid(asked) {
					t.Fatalf("body is %q", asked)
				}
				if tr.Next(); err != nil {
					break
				}
			}
		}
	})
}
