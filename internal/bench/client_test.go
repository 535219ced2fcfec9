package bench_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hello is a plan of one request.
func hello() bench.Plan {
	return bench.Plan{
		Streams:  []bench.Stream{{Name: "all", Class: "batch"}},
		Requests: []bench.Request{{InputLen: 2, OutputLen: 3, Prompt: func([]string) bench.Prompt { return bench.Prompt{Text: "hello"} }}},
	}
}

// answer is a server that answers every request with this text.
func answer(t *testing.T, status int, contentType, text string) bench.Target {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		if strings.HasSuffix(text, "…") {
			panic(http.ErrAbortHandler) // cuts the connection
		}
	}))
	t.Cleanup(server.Close)
	return bench.Target{URL: server.URL, Endpoint: bench.Completions, Model: "m"}
}

func one(t *testing.T, target bench.Target, plan bench.Plan, opts bench.Options) bench.Record {
	t.Helper()
	result, err := bench.Run(t.Context(), target, plan, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Records) != 1 {
		t.Fatalf("%d records, want 1", len(result.Records))
	}
	return result.Records[0]
}

const (
	eventStream = "text/event-stream; charset=utf-8"
	token       = `data: {"choices":[{"text":" a"}]}` + "\n\n"
	last        = `data: {"choices":[{"text":" b","finish_reason":"length"}]}` + "\n\n"
	counts      = `data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}` + "\n\n"
	done        = "data: [DONE]\n\n"
)

func TestEveryFailureHasItsKind(t *testing.T) {
	for _, tt := range []struct {
		name        string
		status      int
		contentType string
		text        string
		kind        bench.Kind
		message     string
	}{
		{"refused", 429, "application/json", `{"error":{"message":"full"}}`, "http_429", "full"},
		{"gateway", 502, "text/html", "<p>bad</p>\n", "http_502", "<p>bad</p>"},
		{"no stream", 200, "application/json", `{"choices":[]}`, bench.Protocol, "Content-Type"},
		{"no event", 200, eventStream, "hello\n\n", bench.Protocol, `"hello"`},
		{"no JSON", 200, eventStream, "data: hello\n\n", bench.Protocol, `"hello"`},
		{"no [DONE]", 200, eventStream, token + last, bench.Broken, "[DONE]"},
		{"cut off", 200, eventStream, token + "…", bench.Broken, "EOF"},
		{"error within", 200, eventStream, token + `data: {"error":{"message":"engine died"}}` + "\n\n" + done, bench.InStream, "engine died"},
		{"no token", 200, eventStream, counts + done, bench.Empty, "no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := one(t, answer(t, tt.status, tt.contentType, tt.text), hello(), bench.Options{})
			if rec.Err == nil || rec.Err.Kind != tt.kind || !strings.Contains(rec.Err.Message, tt.message) {
				t.Errorf("failure = %v, want kind %s with %q", rec.Err, tt.kind, tt.message)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	refused := errors.New("nobody there")
	target := bench.Target{URL: "http://nowhere", Endpoint: bench.Completions, Model: "m", Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, refused
	}}
	if rec := one(t, target, hello(), bench.Options{}); rec.Err == nil || rec.Err.Kind != bench.Connect {
		t.Errorf("failure = %v, want kind connect", rec.Err)
	}
}

func TestTimeout(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer server.Close()
	target := bench.Target{URL: server.URL, Endpoint: bench.Completions, Model: "m"}
	if rec := one(t, target, hello(), bench.Options{Timeout: time.Millisecond}); rec.Err == nil || rec.Err.Kind != bench.Timeout {
		t.Errorf("failure = %v, want kind timeout", rec.Err)
	}
}

func TestTokensAreCountedByUsageOrIDsNeverByEvents(t *testing.T) {
	withIDs := `data: {"choices":[{"text":" a b","token_ids":[1,2]}]}` + "\n\n" + `data: {"choices":[{"text":"","token_ids":[3],"finish_reason":"stop"}]}` + "\n\n"
	for _, tt := range []struct {
		name, text string
		byIDs      bool
		want       bench.Record
	}{
		{"usage", token + last + counts + done, false, bench.Record{PromptTokens: 7, CachedTokens: 4, OutputTokens: 3, Counted: bench.ByUsage, Finish: "length", Text: " a b"}},
		{"ids", withIDs + done, true, bench.Record{OutputTokens: 3, Counted: bench.ByTokenIDs, Finish: "stop", Text: " a b"}},
		{"ids win", withIDs + counts + done, true, bench.Record{PromptTokens: 7, CachedTokens: 4, OutputTokens: 3, Counted: bench.ByTokenIDs, Finish: "stop", Text: " a b"}},
		{"neither", token + last + done, false, bench.Record{Counted: bench.Uncounted, Finish: "length", Text: " a b"}},
	} {
		rec := one(t, answer(t, 200, eventStream, tt.text), hello(), bench.Options{TokenIDs: tt.byIDs, KeepText: true})
		if rec.Err != nil {
			t.Errorf("%s: %v", tt.name, rec.Err)
			continue
		}
		if _, known := rec.TPOT(); known != (tt.want.Counted != bench.Uncounted) {
			t.Errorf("%s: a TPOT: %t", tt.name, known)
		}
		got := bench.Record{
			PromptTokens: rec.PromptTokens, CachedTokens: rec.CachedTokens, OutputTokens: rec.OutputTokens, Counted: rec.Counted, Finish: rec.Finish, Text: rec.Text,
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	type seen struct {
		path string
		head http.Header
		body map[string]any
	}
	var got seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = seen{path: r.URL.Path, head: r.Header}
		_ = json.NewDecoder(r.Body).Decode(&got.body)
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, `data: {"choices":[{"delta":{"role":"assistant","content":""}}]}`+"\n\n"+
			`data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`+"\n\n"+counts+done)
	}))
	defer server.Close()
	target := bench.Target{URL: server.URL + "/v1/", Endpoint: bench.Chat, Model: "m", APIKey: "secret", Headers: map[string]string{"X-Tenant": "t"}}
	rec := one(t, target, hello(), bench.Options{IgnoreEOS: true, TokenIDs: true, IDPrefix: "b-", ExtraBody: map[string]any{"top_p": 0.5, "temperature": 1.0}})
	if rec.Err != nil || len(rec.ITL) != 0 {
		t.Errorf("failure %v, %d gaps; want none: the role alone is no token", rec.Err, len(rec.ITL))
	}
	want := map[string]any{
		"model": "m", "stream": true, "stream_options": map[string]any{"include_usage": true}, "max_completion_tokens": 3.0, "ignore_eos": true,
		"return_token_ids": true, "temperature": 1.0, "top_p": 0.5, "messages": []any{map[string]any{"role": "user", "content": "hello"}},
	}
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"Authorization": "Bearer secret", "X-Tenant": "t", "X-Baton-Class": "batch", "X-Request-Id": "b-0"} {
		if got.head.Get(name) != want {
			t.Errorf("header %s = %q, want %q", name, got.head.Get(name), want)
		}
	}
	if got.path != "/v1/chat/completions" {
		t.Errorf("path = %q", got.path)
	}

	plan := hello()
	plan.Requests[0].Prompt = func([]string) bench.Prompt { return bench.Prompt{Tokens: []int64{5, 6}} }
	if rec := one(t, target, plan, bench.Options{}); rec.Err == nil || rec.Err.Kind != bench.Skipped {
		t.Errorf("token ids to the chat endpoint: %v, want kind skipped", rec.Err)
	}
	target.Endpoint = bench.Completions
	one(t, target, plan, bench.Options{})
	if diff := cmp.Diff([]any{5.0, 6.0}, got.body["prompt"]); diff != "" || got.body["max_tokens"] != 3.0 {
		t.Errorf("prompt (-want +got):\n%s\nmax_tokens = %v", diff, got.body["max_tokens"])
	}
}

func TestFirstModel(t *testing.T) {
	target := answer(t, 200, "application/json", `{"data":[{"id":"org/one"},{"id":"two"}]}`)
	if got, err := bench.FirstModel(t.Context(), target); err != nil || got != "org/one" {
		t.Errorf("FirstModel = %q, %v", got, err)
	}
	if _, err := bench.FirstModel(t.Context(), answer(t, 401, "application/json", `no`)); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("FirstModel of a server that refuses = %v", err)
	}
}

func TestRunRefusesWhatCannotBeSent(t *testing.T) {
	good := bench.Target{URL: "http://h", Endpoint: bench.Chat, Model: "m"}
	for name, change := range map[string]func(*bench.Target, *bench.Plan){
		"URL":      func(t *bench.Target, _ *bench.Plan) { t.URL = "h:80" },
		"endpoint": func(t *bench.Target, _ *bench.Plan) { t.Endpoint = "embeddings" },
		"model":    func(t *bench.Target, _ *bench.Plan) { t.Model = "" },
		"requests": func(_ *bench.Target, p *bench.Plan) { p.Requests = nil },
		"stream":   func(_ *bench.Target, p *bench.Plan) { p.Streams = nil },
		"prompt":   func(_ *bench.Target, p *bench.Plan) { p.Requests[0].Prompt = nil },
	} {
		target, plan := good, hello()
		change(&target, &plan)
		if _, err := bench.Run(t.Context(), target, plan, bench.Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a bad %s: %v", name, err)
		}
	}
}
