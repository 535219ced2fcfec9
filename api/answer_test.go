package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goopenai "github.com/sashabaranov/go-openai"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestUnaryAnswerThatBreaksOffHasAStatus(t *testing.T) {
	h := start(t, answering(newScript(&router.Error{Status: 503, Message: "gone"}, `{"id":`)), oneModel, nil)
	resp, text := h.do(t, "POST", chatPath, chatBody)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(text, `{"error":{"message":"gone"`) {
		t.Errorf("answer is %d %s, want 503 and nothing of the half", resp.StatusCode, text)
	}
}

// timed is an answer that took known times.
type timed struct {
	*script
	timing router.Timing
}

func (a timed) Timing() router.Timing { return a.timing }

func TestTimingHeaders(t *testing.T) {
	split := router.Timing{
		Queue: 1500 * time.Microsecond, Prefill: 20 * time.Millisecond, Handover: 3 * time.Millisecond, FirstToken: 30 * time.Millisecond,
		PrefillWorker: "p1", DecodeWorker: "d1", Attempts: 2, PromptTokens: 100, CachedTokens: 0,
		Place: "split", Why: "split", Dispatch: time.Millisecond,
	}
	whole := router.Timing{Queue: time.Millisecond, FirstToken: time.Second, DecodeWorker: "d1", Attempts: 1, Whole: true}
	for _, c := range []struct {
		name   string
		timing router.Timing
		asked  string
		off    bool
		want   map[string]string
	}{
		{"split", split, "1", false, map[string]string{
			"Queue-Ms": "1.500", "Prefill-Ms": "20.000", "Handover-Ms": "3.000", "Ttft-Ms": "30.000", "Prefill-Worker": "p1", "Decode-Worker": "d1",
			"Attempts": "2", "Prompt-Tokens": "100", "Cached-Tokens": "0", "Path": "split", "Why": "split", "Dispatch-Ms": "1.000",
		}},
		{"whole", whole, "1", false, map[string]string{"Queue-Ms": "1.000", "Ttft-Ms": "1000.000", "Decode-Worker": "d1", "Attempts": "1", "Path": "whole"}},
		{"not asked for", split, "", false, map[string]string{}},
		{"turned off", split, "1", true, map[string]string{}},
	} {
		for _, body := range []string{chatBody, chatSSE} {
			t.Run(c.name, func(t *testing.T) {
				h := start(t, answering(timed{newScript(nil, "{}"), c.timing}), oneModel, func(cfg *Config) { cfg.TimingHeaders = !c.off })
				resp, _ := h.do(t, "POST", chatPath, body, timingHeader, c.asked)
				got := map[string]string{}
				for name := range resp.Header {
					if short, ok := strings.CutPrefix(name, "X-Baton-"); ok {
						got[short] = resp.Header.Get(name)
					}
				}
				if d := cmp.Diff(c.want, got); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestDeadlineOfTheClient(t *testing.T) {
	for _, c := range []struct {
		limit time.Duration // of the server
		sent  string
		want  time.Duration // 0: none
	}{
		{0, "", 0},
		{0, "60000", time.Minute},
		{time.Hour, "60000", time.Minute},
		{time.Second, "60000", time.Second},
		{time.Hour, "", time.Hour},
	} {
		r := answering(newScript(nil, "{}"))
		h := start(t, r, oneModel, func(cfg *Config) { cfg.RequestTimeout = c.limit })
		begun := time.Now()
		h.do(t, "POST", chatPath, chatBody, deadlineHeader, c.sent)
		ended := time.Now()
		deadline := r.last.Load().Deadline
		if c.want == 0 && !deadline.IsZero() || c.want > 0 && (deadline.Before(begun.Add(c.want)) || deadline.After(ended.Add(c.want))) {
			t.Errorf("server %v, client %q: the deadline is %v after the request, want %v", c.limit, c.sent, deadline.Sub(begun), c.want)
		}
	}
}

// silent waits for release before it fails, so that only keep-alives are written.
func silent(release <-chan struct{}, err error) *fakeRouter {
	return &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) {
		<-release
		return nil, err
	}}
}

func TestKeepAlivesAreEmptyLines(t *testing.T) {
	release := make(chan struct{})
	h := start(t, silent(release, &router.Error{Status: 503, Message: "m"}), oneModel, func(c *Config) { c.SSEKeepalive = 10 * time.Millisecond })
	resp, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatSSE))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	close(release) // the header came before the answer
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	rest := strings.TrimLeft(string(text), "\n")
	want := "data: {\"error\":{\"message\":\"m\",\"type\":\"ServiceUnavailableError\",\"param\":null,\"code\":503}}\n\ndata: [DONE]\n\n"
	if rest != want || len(text) == len(rest) {
		t.Errorf("stream is %q", text)
	}
}

// ask reads one stream as go-openai does.
func ask(t *testing.T, url string) (text string, err error) {
	t.Helper()
	cfg := goopenai.DefaultConfig("key")
	cfg.BaseURL = url + "/v1"
	stream, err := goopenai.NewClientWithConfig(cfg).CreateChatCompletionStream(t.Context(), goopenai.ChatCompletionRequest{
		Model: "m", Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: "x"}},
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }()
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return text, nil
		}
		if err != nil {
			return text, err
		}
		text += part.Choices[0].Delta.Content
	}
}

const chunk = `{"id":"1","choices":[{"index":0,"delta":{"content":"hi"}}]}`

func TestGoOpenAIReadsStreamsAndErrors(t *testing.T) {
	answers := []struct {
		answer Answer
		err    error
	}{
		{newScript(nil, chunk, chunk), nil},
		{nil, &router.Error{Status: 429, Message: "full"}},
		{newScript(&router.Error{Status: 502, Message: "gone"}, chunk), nil},
	}
	r := &fakeRouter{}
	r.do = func(context.Context, *router.Request) (Answer, error) {
		a := answers[r.calls.Load()-1]
		return a.answer, a.err
	}
	h := start(t, r, oneModel, nil)
	if text, err := ask(t, h.url); text != "hihi" || err != nil {
		t.Errorf("a stream reads as %q, %v", text, err)
	}
	var apiErr *goopenai.APIError
	if _, err := ask(t, h.url); !errors.As(err, &apiErr) || apiErr.HTTPStatusCode != 429 || apiErr.Message != "full" {
		t.Errorf("a refusal reads as %v", err)
	}
	if text, err := ask(t, h.url); text != "hi" || !errors.As(err, &apiErr) || apiErr.Message != "gone" {
		t.Errorf("a stream that breaks off reads as %q, %v", text, err)
	}
}

// go-openai parses an error frame together with the text of all comments before it; empty lines
// have none.
func TestGoOpenAIReadsErrorsAfterKeepAlives(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := newEventWriter(w, wire.Plain, nil)
		err := errors.Join(out.ping(time.Now()), out.events([]byte("data: "+chunk+"\n\n"), false), out.ping(time.Now()), out.ping(time.Now()))
		if err = errors.Join(err, out.fail(&router.Error{Status: 502, Message: "gone"})); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var apiErr *goopenai.APIError
	if text, err := ask(t, server.URL); text != "hi" || !errors.As(err, &apiErr) || apiErr.Message != "gone" {
		t.Errorf("a stream that breaks off reads as %q, %v", text, err)
	}
}

// writes counts the writes to a client.
type writes struct {
	*httptest.ResponseRecorder

	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.ResponseRecorder.Write(p)
}

// Events that are there together go out together, in whole blocks; the last of them sends all.
func TestEventsThatAreThereTogetherAreOneWrite(t *testing.T) {
	for _, tt := range []struct {
		more   []bool
		writes int
	}{
		{[]bool{false, false, false}, 4},
		{[]bool{true, true, false}, 2},
		{[]bool{true, true, true}, 1}, // and the end
	} {
		w := &writes{ResponseRecorder: httptest.NewRecorder()}
		out := newEventWriter(w, wire.Plain, nil)
		for _, more := range tt.more {
			if err := out.events([]byte("data: "+chunk+"\n\n"), more); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.done(); err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat("data: "+chunk+"\n\n", len(tt.more)) + "data: [DONE]\n\n"
		if got := w.Body.String(); w.n != tt.writes || got != want {
			t.Errorf("more = %v: %d writes of %q, want %d", tt.more, w.n, got, tt.writes)
		}
	}
	w := &writes{ResponseRecorder: httptest.NewRecorder()}
	out := newEventWriter(w, wire.Plain, nil)
	large := []byte(strings.Repeat("x", most))
	if err := out.events(large, true); err != nil || w.n != 1 {
		t.Errorf("an event of %d bytes waits for more: %d writes, %v", most, w.n, err)
	}
}

// A stream of an event at a time sets few deadlines: each costs about what the event does.
func TestWritesOfAStreamShareADeadline(t *testing.T) {
	for _, tt := range []struct{ major, most int }{{1, 2}, {2, 401}} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		out := newWriter(w, &http.Request{ProtoMajor: tt.major}, time.Minute, time.Now())
		for range 100 {
			if _, err := out.Write([]byte(chunk)); err != nil || out.FlushError() != nil {
				t.Fatal(err)
			}
		}
		if w.n > tt.most || tt.major == 1 && w.last.Before(time.Now().Add(40*time.Second)) {
			t.Errorf("HTTP/%d: 100 events set %d deadlines, the last %v; want at most %d", tt.major, w.n, w.last, tt.most)
		}
		if idle := w.last.IsZero(); idle != (tt.major == 2) {
			t.Errorf("HTTP/%d: between writes there is the deadline %v", tt.major, w.last)
		}
	}
}

// deadlines counts the deadlines that are set.
type deadlines struct {
	*httptest.ResponseRecorder

	n    int
	last time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.n++
	d.last = t
	return nil
}
