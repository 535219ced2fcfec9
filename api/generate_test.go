package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestStreamIsWhatVLLMWrites(t *testing.T) {
	for _, c := range []struct {
		name, path, want string
		answer           *script
		counted          string
	}{
		{"whole", chatPath, "data: {\"a\":1}\n\ndata: {\"b\":\"\u00e9\"}\n\ndata: [DONE]\n\n", newScript(nil, `{"a":1}`, `{"b":"é"}`), "200"},
		{"two events at once", chatPath, "data: 1\n\ndata: 2\n\ndata: 3\n\ndata: [DONE]\n\n", newScript(nil, "data: 1\n\ndata: 2\n\n", "3"), "200"},
		{"data of two lines", chatPath, "data: {\ndata: }\n\ndata: [DONE]\n\n", newScript(nil, "{\n}"), "200"},
		{
			"broken off", chatPath,
			"data: {\"a\":1}\n\ndata: {\"error\":{\"message\":\"gone\",\"type\":\"BadGatewayError\",\"param\":null,\"code\":502}}\n\ndata: [DONE]\n\n",
			newScript(&router.Error{Status: 502, Message: "gone"}, `{"a":1}`), "502",
		},
		{
			"broken off with the engine's words", chatPath,
			"data: {\"a\":1}\n\ndata: {\"error\":{\"message\":\"oom\"}}\n\ndata: [DONE]\n\n",
			newScript(&router.Error{Status: 500, Body: []byte(`{"error":{"message":"oom"}}`)}, `{"a":1}`), "500",
		},
		{
			"an engine's error that no client would find", chatPath,
			"data: {\"a\":1}\n\ndata: {\"error\":{\"message\":\"m\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}\n\ndata: [DONE]\n\n",
			newScript(&router.Error{Status: 500, Message: "m", Body: []byte("{\"object\":\"error\"}")}, `{"a":1}`), "500",
		},
		{"named events", "/v1/messages", "event: ping\ndata: {}\n\ndata: [DONE]\n\n", newScript(nil, "event: ping\ndata: {}\n\n", "data: [DONE]\n\n"), "200"},
		{
			"named events, broken off", "/v1/responses",
			"event: a\ndata: {}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"gone\",\"type\":\"BadGatewayError\",\"param\":null,\"code\":502}}\n\n",
			newScript(&router.Error{Status: 502, Message: "gone"}, "event: a\ndata: {}\n\n"), "502",
		},
		{
			"named events, the last of them an error", "/v1/messages", "event: error\ndata: {}\n\n",
			newScript(&router.Error{Status: 500, Told: true, Body: []byte("{}")}, "event: error\ndata: {}\n\n"), "500",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, answering(c.answer), oneModel, nil)
			resp, got := h.do(t, "POST", c.path, chatSSE)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for name, want := range map[string]string{
				"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			h.counted(t, c.path, c.counted)
			<-c.answer.closed
		})
	}
}

func TestErrorBeforeTheFirstEventHasItsStatus(t *testing.T) {
	engines := `{"error": {"message":"too long", "big":9007199254740993}}`
	for _, c := range []struct {
		name   string
		err    error
		status int
		body   string
		header map[string]string
	}{
		{"engine's own body", &router.Error{Status: 400, Body: []byte(engines)}, 400, engines, nil},
		{
			"an older engine's body", &router.Error{Status: 400, Message: "m", Body: []byte(`{"object":"error","message":"too long"}`)}, 400,
			`{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}`, nil,
		},
		{
			"a path that the engine lacks", &router.Error{Status: 404, Message: "m", Body: []byte(`{"detail":"Not Found"}`)}, 404,
			`{"error":{"message":"Not Found","type":"NotFoundError","param":null,"code":404}}`, nil,
		},
		{
			"an engine's body that is not JSON", &router.Error{Status: 500, Message: "m", Body: []byte("Internal Server Error")}, 500,
			`{"error":{"message":"m","type":"InternalServerError","param":null,"code":500}}`,
			map[string]string{"X-Should-Retry": "false"},
		},
		{
			"queue full", &router.Error{Status: 429, Message: "full", RetryAfter: 1500 * time.Millisecond}, 429,
			`{"error":{"message":"full","type":"RateLimitError","param":null,"code":429}}`,
			map[string]string{"Retry-After": "2", "Retry-After-Ms": "1500"},
		},
		{
			"longer than SDKs heed", &router.Error{Status: 503, Type: "Own", Param: "p", Message: "m", RetryAfter: time.Hour}, 503,
			`{"error":{"message":"m","type":"Own","param":"p","code":503}}`,
			map[string]string{"Retry-After": "60", "Retry-After-Ms": "60000"},
		},
		{
			"unknown", errors.New("secret detail"), 500,
			`{"error":{"message":"Internal server error.","type":"InternalServerError","param":null,"code":500}}`,
			map[string]string{"X-Should-Retry": "false"},
		},
	} {
		for _, stream := range []string{chatBody, chatSSE} {
			t.Run(c.name, func(t *testing.T) {
				h := start(t, failing(c.err), oneModel, nil)
				resp, got := h.do(t, "POST", chatPath, stream)
				if resp.StatusCode != c.status || got != c.body {
					t.Errorf("answer is %d %s, want %d %s", resp.StatusCode, got, c.status, c.body)
				}
				for name, want := range c.header {
					if got := resp.Header.Get(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				if got := resp.Header.Get("Content-Type"); got != "application/json" {
					t.Errorf("Content-Type is %q", got)
				}
			})
		}
	}
}

func TestUnaryAnswerIsTheEnginesOwn(t *testing.T) {
	h := start(t, answering(newScript(nil, `{"id": "x", `, `"big":9007199254740993}`)), oneModel, nil)
	resp, got := h.do(t, "POST", chatPath, chatBody)
	if got != `{"id": "x", "big":9007199254740993}` || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answer is %s %s", resp.Header.Get("Content-Type"), got)
	}
	if resp.ContentLength != int64(len(got)) {
		t.Errorf("Content-Length is %d, want %d", resp.ContentLength, len(got))
	}
	if resp.Header.Get("Openai-Processing-Ms") == "" {
		t.Error("openai-processing-ms is missing")
	}
	if strings.Contains(h.log.String(), "a secret") {
		t.Error("the log holds a prompt")
	}
}

func TestEmptyAnswersAreErrors(t *testing.T) {
	for _, body := range []string{chatBody, chatSSE} {
		h := start(t, answering(newScript(nil)), oneModel, nil)
		if resp, text := h.do(t, "POST", chatPath, body); resp.StatusCode != http.StatusBadGateway || !strings.Contains(text, "empty answer") {
			t.Errorf("answer is %d %s, want 502", resp.StatusCode, text)
		}
	}
}

func TestRouterGetsTheRequestAsItWasSent(t *testing.T) {
	r := answering(newScript(nil, "{}"))
	h := start(t, r, oneModel, func(c *Config) { c.RequestTimeout = time.Hour })
	body := `{ "seed":9223372036854775807, "messages":[{"role":"user","content":"` + strings.Repeat("12345678", 256) + `"}],"max_tokens":5, "n":2 }`
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	resp, _ := h.do(t, "POST", chatPath+"?a=b", body, "X-Request-Id", "mine", "Traceparent", parent, "X-Baton-Class", "batch")
	if got := resp.Header.Get("X-Request-Id"); got != "mine" {
		t.Errorf("x-request-id is %q, want the client's", got)
	}
	got := *r.last.Load()
	if !strings.HasPrefix(got.ID, "mine-") || len(got.ID) != len("mine-")+8 {
		t.Errorf("ID is %q, want mine- and 8 digits", got.ID)
	}
	if until := time.Until(got.Deadline); until <= 0 || until > time.Hour {
		t.Errorf("the deadline is %v away, want an hour", until)
	}
	got.ID, got.Deadline = "", time.Time{}
	if len(got.Prefix) != 2 {
		t.Errorf("a prompt of 2 blocks has %d hashes", len(got.Prefix))
	}
	got.Prefix = nil
	want := router.Request{
		Path: chatPath, Model: "m", Traceparent: parent, Class: wire.Batch, Body: []byte(body), PromptTokens: 512, MaxTokens: 5, Whole: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStreamIsIgnoredWhereEnginesIgnoreIt(t *testing.T) {
	h := start(t, &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "{}"), nil }}, oneModel, nil)
	for path, want := range map[string]string{
		"/v1/embeddings": "application/json", "/tokenize": "application/json", "/detokenize": "application/json",
		"/v1/responses": "text/event-stream; charset=utf-8", "/v1/messages": "text/event-stream; charset=utf-8",
	} {
		if resp, _ := h.do(t, "POST", path, `{"stream":true}`); resp.Header.Get("Content-Type") != want {
			t.Errorf("%s answers with %s, want %s", path, resp.Header.Get("Content-Type"), want)
		}
	}
}

func TestRequestIDsAreUniqueAndBounded(t *testing.T) {
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "{}"), nil }}
	h := start(t, r, oneModel, nil)
	seen := map[string]bool{}
	for _, sent := range []string{"same", "same", "", "", "not sane", strings.Repeat("x", 129)} {
		resp, _ := h.do(t, "POST", chatPath, chatBody, "X-Request-Id", sent, "Traceparent", "junk")
		last := r.last.Load()
		if seen[last.ID] || !saneID.MatchString(resp.Header.Get("X-Request-Id")) {
			t.Errorf("for %q the id is %q, the header %q", sent, last.ID, resp.Header.Get("X-Request-Id"))
		}
		if last.Traceparent != "" {
			t.Errorf("traceparent %q was kept", last.Traceparent)
		}
		seen[last.ID] = true
	}
}

func TestBadRequestsNeverReachTheRouter(t *testing.T) {
	long := `{"messages":[{"role":"user","content":"` + strings.Repeat("x", 2000) + `"}]}`
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		param                    string // as JSON
	}{
		{"no JSON", "POST", chatPath, "{", nil, 400, "null"},
		{"no messages", "POST", chatPath, `{"model":"m"}`, nil, 400, `"messages"`},
		{"transfer params", "POST", "/v1/embeddings", `{"kv_transfer_params":{"do_remote_prefill":true}}`, nil, 400, `"kv_transfer_params"`},
		{"unknown model", "POST", chatPath, strings.Replace(chatBody, `"m"`, `"x"`, 1), nil, 404, `"model"`},
		{"media type", "POST", chatPath, chatBody, []string{"Content-Type", "text/plain"}, 415, "null"},
		{"content coding", "POST", chatPath, chatBody, []string{"Content-Encoding", "gzip"}, 415, "null"},
		{"too large", "POST", chatPath, long, nil, 413, "null"},
		{"stored response", "GET", "/v1/responses/resp_1", "", nil, 404, `"response_id"`},
		{"running response", "POST", "/v1/responses/resp_1/cancel", "{}", nil, 404, `"response_id"`},
		{"deadline", "POST", chatPath, chatBody, []string{"X-Baton-Deadline-Ms", "0"}, 400, `"X-Baton-Deadline-Ms"`},
		{"deadline that overflows", "POST", chatPath, chatBody, []string{"X-Baton-Deadline-Ms", "9223372036854775807"}, 400, `"X-Baton-Deadline-Ms"`},
		{"class", "POST", chatPath, chatBody, []string{"X-Baton-Class", "vip"}, 400, `"X-Baton-Class"`},
		{"route", "POST", "/v1/nothing", chatBody, nil, 404, "null"},
		{"method", "GET", chatPath, "", nil, 405, "null"},
		{"admin route of an engine", "POST", "/sleep", "{}", nil, 404, "null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := failing(errors.New("called"))
			h := start(t, r, oneModel, func(c *Config) { c.MaxBody = 1000 })
			resp, text := h.do(t, c.method, c.path, c.body, c.header...)
			if resp.StatusCode != c.status || !strings.HasPrefix(text, `{"error":{"message":"`) || !strings.Contains(text, `"param":`+c.param+`,`) {
				t.Errorf("answer is %d %s, want %d and param %s", resp.StatusCode, text, c.status, c.param)
			}
			if n := r.calls.Load(); n != 0 {
				t.Errorf("the router was called %d times", n)
			}
		})
	}
}

func TestBodyLimitHoldsWithoutALength(t *testing.T) {
	r := failing(errors.New("called"))
	h := start(t, r, oneModel, func(c *Config) { c.MaxBody = 1000 })
	req := h.request(t, "POST", chatPath, "x")
	req.ContentLength = -1
	req.Body = io.NopCloser(strings.NewReader(strings.Repeat(" ", 1001)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || r.calls.Load() != 0 {
		t.Errorf("status is %d and the router was called %d times", resp.StatusCode, r.calls.Load())
	}
}

func TestBodyLimitAnswersBeforeTheBodyIsSent(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, nil)
	head := "POST " + chatPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
	if got := h.raw(t, head); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("answer is %q, want 413", got)
	}
}

func TestBodyThatStallsIsGivenUp(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	for extra, want := range map[string]string{
		"":                             "408",
		"Content-Type: text/plain\r\n": "415", // refused before the body is read
	} {
		head := "POST " + chatPath + " HTTP/1.1\r\nHost: x\r\n" + extra + "Content-Length: 100\r\n\r\n{"
		if got := h.raw(t, head); !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") {
			t.Errorf("answer is %q, want %s", got, want)
		}
	}
}

func TestClientThatLeavesClosesItsAnswer(t *testing.T) {
	answer := newScript(nil, `{"a":1}`)
	answer.hold = make(chan struct{}) // for ever
	h := start(t, answering(answer), oneModel, nil)
	ctx, leave := context.WithCancel(t.Context())
	resp, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatSSE).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	leave()
	<-answer.closed
	h.counted(t, chatPath, "499")
}

func TestClientThatLeavesTheQueueEndsTheContext(t *testing.T) {
	queued := make(chan struct{})
	r := &fakeRouter{do: func(ctx context.Context, _ *router.Request) (Answer, error) {
		close(queued)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	h := start(t, r, oneModel, nil)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-queued
		leave()
	}()
	if resp, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatBody).WithContext(ctx)); err == nil {
		_ = resp.Body.Close()
		t.Error("a request that was cancelled got an answer")
	}
	h.counted(t, chatPath, "499")
}

func TestDeadlineIsA504(t *testing.T) {
	r := &fakeRouter{do: func(ctx context.Context, _ *router.Request) (Answer, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	h := start(t, r, oneModel, func(c *Config) { c.RequestTimeout = 20 * time.Millisecond })
	if resp, text := h.do(t, "POST", chatPath, chatBody); resp.StatusCode != http.StatusGatewayTimeout || !strings.Contains(text, "deadline") {
		t.Errorf("answer is %d %s, want 504", resp.StatusCode, text)
	}
}

// endless never runs out of events.
type endless struct{ *script }

func (endless) Next(ctx context.Context) ([]byte, error) {
	return []byte(strings.Repeat("x", 64<<10)), ctx.Err()
}

func TestReaderThatStopsIsGivenUp(t *testing.T) {
	answer := endless{newScript(nil)}
	h := start(t, answering(answer), oneModel, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	resp, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatSSE))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	<-answer.closed // while nothing is read
	h.counted(t, chatPath, "499")
}
