package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

// asked is a request with an answer of ten words.
func asked(t *testing.T, stream bool) *request {
	t.Helper()
	r := &request{id: "r", path: pathCompletions, stream: stream, usage: stream}
	r.body = fmt.Appendf(nil, `{"model":"chaos","prompt":"say","max_tokens":10,"ignore_eos":true,"stream":%t}`, stream)
	var err error
	if r.want, err = enginesim.Expect(r.path, r.body); err != nil {
		t.Fatal(err)
	}
	return r
}

// events are those of the right answer to a stream.
func events(w enginesim.Expected) []string {
	var all []string
	for word := range strings.SplitAfterSeq(w.Text, " ") {
		all = append(all, chunk(word, ""))
	}
	return append(all, chunk("", w.Finish), counted(w, w.Tokens), "[DONE]")
}

func chunk(text, finish string) string {
	said, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string has JSON
	}
	end := "null"
	if finish != "" {
		end = `"` + finish + `"`
	}
	return fmt.Sprintf(`{"id":"x","choices":[{"text":%s,"finish_reason":%s}]}`, said, end)
}

func counted(w enginesim.Expected, tokens int) string {
	return fmt.Sprintf(`{"id":"x","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, w.PromptTokens, tokens, w.PromptTokens+tokens)
}

// sent is what a client makes of a server's answer.
func sent(t *testing.T, r *request, serve http.HandlerFunc) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body) // else the server does not see that the client leaves
		serve(w, q)
	}))
	defer server.Close()
	var phase atomic.Int32
	var live atomic.Int64
	x := &exchange{request: r, patience: 200 * time.Millisecond, phase: &phase, live: &live}
	return x.send(t.Context(), server.Client(), server.URL)
}

func streamed(events []string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range events {
			fmt.Fprintf(w, "data: %s\n\n", e)
		}
	}
}

// Each fault that an answer can have is noticed, and the right answer has none.
func TestClientNoticesWhatIsWrongWithAStream(t *testing.T) {
	r := asked(t, true)
	right := events(r.want)
	text, last := len(right)-4, len(right)-1 // the last word, and the end
	with := func(at int, event ...string) []string { return slices.Replace(slices.Clone(right), at, at+1, event...) }
	for what, tt := range map[string]struct {
		events []string
		want   string // kind of failure; empty: none
	}{
		"right":                   {right, ""},
		"another word":            {with(3, chunk("wrong ", "")), failWrong},
		"a word is missing":       {with(3), failWrong},
		"a word comes twice":      {with(3, right[3], right[3]), failWrong},
		"the last word missing":   {with(text), failWrong},
		"a word too many":         {with(text, right[text], chunk(" more", "")), failWrong},
		"no finish_reason":        {with(text + 1), failWrong},
		"another finish_reason":   {with(text+1, chunk("", "abort")), failWrong},
		"text after the finish":   {with(text+1, right[text+1], chunk("", "stop")), failWrong},
		"no usage":                {with(text + 2), failWrong},
		"usage of another answer": {with(text+2, counted(r.want, 3)), failWrong},
		"usage twice":             {with(text+2, right[text+2], right[text+2]), failWrong},
		"another id":              {with(2, strings.Replace(right[2], `"x"`, `"y"`, 1)), failWrong},
		"no JSON":                 {with(2, `{"id`), failWrong},
		"something after the end": {append(slices.Clone(right), right[0]), failWrong},
		"an error event":          {with(4, `{"error":{"message":"gone","code":502}}`), failEvent},
		"no end":                  {right[:last], failCut},
		"cut after a word":        {right[:5], failCut},
		"nothing at all":          {nil, failCut},
	} {
		err := sent(t, r, streamed(tt.events))
		var f *failure
		switch {
		case err == nil && tt.want == "":
		case !errors.As(err, &f) || f.kind != tt.want:
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
	}
}

func TestClientNoticesARoleThatComesTwice(t *testing.T) {
	a := answer{want: enginesim.Expected{}}
	role := []byte(`{"id":"x","choices":[{"delta":{"role":"assistant","content":""}}]}`)
	if err := a.take(role); err != nil {
		t.Fatal(err)
	}
	if a.take(role) == nil {
		t.Error("a second role is taken for right")
	}
}

func TestClientNoticesWhatIsWrongWithAnAnswer(t *testing.T) {
	r := asked(t, false)
	whole := func(text, finish string, tokens int) string {
		said, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"id":"x","choices":[{"text":%s,"finish_reason":%q}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`,
			said, finish, r.want.PromptTokens, tokens, r.want.PromptTokens+tokens)
	}
	text, n := r.want.Text, r.want.Tokens
	for what, tt := range map[string]struct {
		status int
		text   string
		want   string
	}{
		"right":               {http.StatusOK, whole(text, r.want.Finish, n), ""},
		"another text":        {http.StatusOK, whole("x"+text[1:], r.want.Finish, n), failWrong},
		"less text":           {http.StatusOK, whole(text[:len(text)-1], r.want.Finish, n), failWrong},
		"another count":       {http.StatusOK, whole(text, r.want.Finish, n+1), failWrong},
		"another finish":      {http.StatusOK, whole(text, "error", n), failWrong},
		"nothing":             {http.StatusOK, "", failWrong},
		"an error":            {http.StatusBadGateway, `{"error":{"message":"no"}}`, failStatus},
		"an error with a 200": {http.StatusOK, `{"error":{"message":"no"}}`, failEvent},
	} {
		err := sent(t, r, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.text)
		})
		var f *failure
		switch {
		case err == nil && tt.want == "":
		case !errors.As(err, &f) || f.kind != tt.want:
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
	}
}

func TestClientTellsWhyNothingCame(t *testing.T) {
	r := asked(t, true)
	silent := func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
	var f *failure
	if err := sent(t, r, silent); !errors.As(err, &f) || f.kind != failHung {
		t.Errorf("of a server that says nothing: %v, want %q", err, failHung)
	}
	stalls := func(w http.ResponseWriter, q *http.Request) {
		streamed(events(r.want)[:3])(w, q)
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
	}
	if err := sent(t, r, stalls); !errors.As(err, &f) || f.kind != failHung {
		t.Errorf("of a stream that stalls: %v, want %q", err, failHung)
	}
	leaving := *r
	leaving.cancel = time.Millisecond
	if err := sent(t, &leaving, silent); !errors.Is(err, errLeft) {
		t.Errorf("of a client that leaves: %v, want %v", err, errLeft)
	}
	var b *busy
	later := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	if err := sent(t, r, later); !errors.As(err, &b) || b.after != 7*time.Second {
		t.Errorf("of a 429: %v, want to come again after 7 s", err)
	}
	var phase atomic.Int32
	x := &exchange{request: r, patience: time.Second, phase: &phase, live: new(atomic.Int64)}
	if err := x.send(context.Background(), http.DefaultClient, "http://127.0.0.1:1"); !errors.Is(err, errRefused) {
		t.Errorf("of nobody: %v, want %v", err, errRefused)
	}
}
