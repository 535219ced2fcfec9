package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// serve returns a client of a server with handler; change may be nil.
func serve(t *testing.T, handler http.HandlerFunc, change func(*engine.Config)) *engine.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	cfg := engine.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	c := engine.New(server.URL+"/", cfg, nil, nil, quiet)
	t.Cleanup(func() { c.Close(); server.Close() })
	return c
}

var call = engine.Call{Path: "/v1/completions", RequestID: "r-1", Body: []byte(`{"a": 1}`)}

func events(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
}

func read(s *engine.Stream) (data []string, err error) {
	for {
		event, err := s.Next()
		if err != nil {
			return data, err
		}
		data = append(data, string(event.Data))
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPostSendsTheCallAsItIs(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s %s", r.Method, r.URL.Path, r.Header.Get("X-Request-Id"), r.Header.Get("Traceparent"), r.Header.Get("Content-Type"), body)
	}, nil)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	answer, err := c.Post(wire.WithTraceparent(bounded(t), parent), call)
	if want := `POST /v1/completions r-1 ` + parent + ` application/json {"a": 1}`; err != nil || string(answer) != want {
		t.Errorf("Post = %q, %v; want %q", answer, err, want)
	}
}

func TestStreamEndsWithDone(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		events(w, "data: {\"a\":1}\n\n: hello\n\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n")
	}, nil)
	s, err := c.Stream(bounded(t), call)
	if err != nil {
		t.Fatal(err)
	}
	events, err := read(s)
	if d := cmp.Diff([]string{`{"a":1}`, `{"error":{}}`}, events); d != "" || !errors.Is(err, io.EOF) {
		t.Errorf("stream ended with %v, events:\n%s", err, d)
	}
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("Next after the end = %v, want io.EOF", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

// What the engine does wrong, and what becomes of it on the wire.
func TestFaultsOfTheEngine(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	long := strings.Repeat("x", 2000)
	for name, tc := range map[string]struct {
		handler  http.HandlerFunc
		streamed bool
		want     error // nil: do not look
		reason   wire.Reason
	}{
		"stream cut at an event": {func(w http.ResponseWriter, _ *http.Request) { events(w, "data: 1\n\n") }, true, engine.ErrCut, wire.EngineError},
		"stream cut in an event": {func(w http.ResponseWriter, _ *http.Request) { events(w, "data: 1\n\ndata: 2") }, true, engine.ErrCut, wire.EngineError},
		"connection dies in stream": {func(w http.ResponseWriter, _ *http.Request) {
			events(w, "data: 1\n\n")
			panic(http.ErrAbortHandler)
		}, true, engine.ErrCut, wire.EngineError},
		"connection dies at once":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, nil, wire.EngineDown},
		"connection dies in answer": {func(w http.ResponseWriter, _ *http.Request) { events(w, "{"); panic(http.ErrAbortHandler) }, false, nil, wire.EngineDown},
		"stream of another type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "data: 1\n\n")
		}, true, nil, wire.EngineError},
		"stream of garbage type":  {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", ";;") }, true, nil, wire.EngineError},
		"event too large":         {func(w http.ResponseWriter, _ *http.Request) { events(w, "data: "+long+"\n\n") }, true, engine.ErrTooLarge, wire.EngineError},
		"answer too large":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) }, false, engine.ErrTooLarge, wire.EngineError},
		"hangs before the answer": {hang, false, engine.ErrTimeout, wire.EngineTimeout},
		"hangs before the stream": {hang, true, engine.ErrTimeout, wire.EngineTimeout},
		"hangs in the stream":     {func(w http.ResponseWriter, r *http.Request) { events(w, "data: 1\n\n"); hang(w, r) }, true, engine.ErrTimeout, wire.EngineTimeout},
		"hangs in the answer":     {func(w http.ResponseWriter, r *http.Request) { events(w, "{"); hang(w, r) }, false, engine.ErrTimeout, wire.EngineTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // without it the server does not see that the client left
				tc.handler(w, r)
			}, func(cfg *engine.Config) {
				cfg.MaxAnswerBytes, cfg.MaxEventBytes = 1000, 1000
				cfg.FirstByteTimeout, cfg.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
			})
			var err error
			if tc.streamed {
				var s *engine.Stream
				if s, err = c.Stream(bounded(t), call); err == nil {
					_, err = read(s)
					_ = s.Close()
				}
			} else {
				_, err = c.Post(bounded(t), call)
			}
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error = %v, want %v", err, tc.want)
			}
			if f := engine.Failure(err); f.Reason != tc.reason || f.Message == "" || strings.Contains(f.Message, "127.0.0.1") {
				t.Errorf("Failure(%v) = %+v, want reason %s", err, f, tc.reason)
			}
		})
	}
}

func TestStatusesKeepTheEnginesBody(t *testing.T) {
	body := "{\"error\": {\"message\":\"no \\u00e9\",\"code\":400}}\r\n"
	for status, want := range map[int]wire.Reason{
		400: wire.EngineRejected, 404: wire.EngineRejected, 422: wire.EngineRejected, 413: wire.EngineRejected,
		408: wire.EngineError, 429: wire.EngineError, 500: wire.EngineError, 503: wire.EngineError, 204: wire.EngineError, 307: wire.EngineError,
	} {
		sent := body
		if status == 204 {
			sent = ""
		}
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, sent)
		}, nil)
		_, postErr := c.Post(bounded(t), call)
		_, streamErr := c.Stream(bounded(t), call)
		for _, err := range []error{postErr, streamErr} {
			f := engine.Failure(err)
			if f.Reason != want || f.Status != status || string(f.Body) != sent {
				t.Errorf("%d: Failure = %s %d %q, want %s and the same body", status, f.Reason, f.Status, f.Body, want)
			}
		}
	}
}

func TestFailureOfTransportErrors(t *testing.T) {
	_, timeout := (&net.Dialer{Timeout: 1}).Dial("tcp", "127.0.0.1:1")
	for name, tc := range map[string]struct {
		err  error
		want wire.Reason
	}{
		"unknown":  {errors.New("reset by peer"), wire.EngineDown},
		"timeout":  {fmt.Errorf("x: %w", timeout), wire.EngineTimeout},
		"deadline": {context.DeadlineExceeded, wire.EngineTimeout},
	} {
		if f := engine.Failure(tc.err); f.Reason != tc.want {
			t.Errorf("%s: Failure = %s, want %s", name, f.Reason, tc.want)
		}
	}
}

func TestEngineThatCannotBeReachedIsDown(t *testing.T) {
	for name, dial := range map[string]func(ctx context.Context, _, _ string) (net.Conn, error){
		"refused": func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") },
		"silent":  func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		"network": func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1") // nobody listens there
		},
	} {
		cfg := engine.DefaultConfig()
		cfg.ConnectTimeout = 50 * time.Millisecond
		_, err := engine.New("http://engine", cfg, dial, nil, quiet).Post(bounded(t), call)
		if f := engine.Failure(err); f.Reason != wire.EngineDown || f.Message != "the engine cannot be reached" {
			t.Errorf("%s: Failure(%v) = %+v, want engine_down and no address", name, err, f)
		}
	}
}

// An engine aborts a request when its connection closes, so giving up must close it.
func TestGivingUpClosesTheConnection(t *testing.T) {
	left := errors.New("client left")
	for name, run := range map[string]func(t *testing.T, c *engine.Client, ctx context.Context, cancel context.CancelCauseFunc, started chan struct{}){
		"post": func(t *testing.T, c *engine.Client, ctx context.Context, cancel context.CancelCauseFunc, started chan struct{}) {
			go func() { <-started; cancel(left) }()
			if _, err := c.Post(ctx, call); !errors.Is(err, left) {
				t.Errorf("Post = %v, want the context's cause", err)
			}
		},
		"next": func(t *testing.T, c *engine.Client, ctx context.Context, cancel context.CancelCauseFunc, started chan struct{}) {
			s, err := c.Stream(ctx, engine.Call{Path: "/stream"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			go func() { <-started; cancel(left) }()
			if _, err := read(s); !errors.Is(err, left) {
				t.Errorf("Next = %v, want the context's cause", err)
			}
		},
		"close": func(t *testing.T, c *engine.Client, ctx context.Context, _ context.CancelCauseFunc, started chan struct{}) {
			s, err := c.Stream(ctx, engine.Call{Path: "/stream"})
			if err != nil {
				t.Fatal(err)
			}
			<-started
			_ = s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			started, gone := make(chan struct{}), make(chan struct{})
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.URL.Path == "/stream" {
					events(w, "data: 1\n\n")
				}
				close(started)
				<-r.Context().Done()
				close(gone)
			}, nil)
			ctx, cancel := context.WithCancelCause(bounded(t))
			defer cancel(nil)
			run(t, c, ctx, cancel, started)
			select {
			case <-gone:
			case <-bounded(t).Done():
				t.Error("the engine never saw that the call was given up")
			}
		})
	}
}

func TestConnectionsAreUsedAgainButNotWhenOld(t *testing.T) {
	closed := make(chan time.Time, 8)
	var opened int
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		events(w, "data: [DONE]\n\n")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- time.Now()
		}
	}
	server.Start()
	defer server.Close()
	c := engine.New(server.URL, engine.DefaultConfig(), func(ctx context.Context, network, addr string) (net.Conn, error) {
		opened++
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}, nil, quiet)
	for range 3 {
		s, err := c.Stream(bounded(t), call)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(s); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		_ = s.Close()
	}
	if opened != 1 {
		t.Errorf("3 streams one after the other took %d connections, want 1", opened)
	}
	idle := time.Now()
	select {
	case at := <-closed:
		if d := at.Sub(idle); d >= 5*time.Second {
			t.Errorf("an idle connection was dropped after %v, the engine does so after 5 s", d)
		}
	case <-bounded(t).Done():
		t.Error("an idle connection was never dropped")
	}
}

func TestModels(t *testing.T) {
	card := `{"id":"m/x", "max_model_len" : 8192}`
	var body string
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }, nil)
	body = `{"object":"list","data":[` + card + `]}`
	models, err := c.Models(bounded(t))
	if d := cmp.Diff([]wire.Model{{ID: "m/x", Card: []byte(card)}}, models); d != "" || err != nil {
		t.Errorf("Models: %v\n%s", err, d)
	}
	for _, body = range []string{``, `{}`, `[]`, `{"data":[1]}`, `{"data":[{"id":7}]}`} {
		if _, err := c.Models(bounded(t)); engine.Failure(err).Reason != wire.EngineError {
			t.Errorf("Models of %q = %v, want an engine error", body, err)
		}
	}
}

func TestHealth(t *testing.T) {
	status := 200
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }, nil)
	if err := c.Health(bounded(t)); err != nil {
		t.Error(err)
	}
	status = 503
	if err := c.Health(bounded(t)); err == nil {
		t.Error("an engine that answers 503 is healthy")
	}
}

func TestMetricsOfTheEngine(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `# HELP vllm:num_requests_running Number of requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m}\"{ x"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0 1700000000000
vllm:num_requests_waiting{engine="0"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} NaN
vllm:cache_config_info{note="a\",num_gpu_blocks=\"7",block_size="16",cache_dtype="auto",num_gpu_blocks="1024",num_gpu_blocks_override="None"} 1.0
garbage
vllm:num_requests_running{
`)
	}, nil)
	got, err := c.Metrics(bounded(t))
	if want := (engine.Metrics{Running: 7, Waiting: 2, KVUsage: .25, CapacityTokens: 16384, BlockSize: 16}); err != nil || got != want {
		t.Errorf("Metrics = %+v, %v; want %+v", got, err, want)
	}
}

func TestCallsAreCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(400)
			return
		}
		events(w, "data: 1\n\ndata: [DONE]\n\n")
	}))
	defer server.Close()
	reg := prometheus.NewPedanticRegistry()
	c := engine.New(server.URL, engine.DefaultConfig(), nil, reg, quiet)
	defer c.Close()
	_, _ = c.Post(bounded(t), call)
	_, _ = c.Post(bounded(t), engine.Call{Path: "/bad"})
	for _, whole := range []bool{true, false} {
		s, err := c.Stream(bounded(t), call)
		if err != nil {
			t.Fatal(err)
		}
		if whole {
			_, _ = read(s)
		}
		_ = s.Close()
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP baton_engine_requests_total Calls to the engine by kind (post, stream, models, health, metrics) and outcome (ok, cancelled, abandoned or the reason of the failure).
# TYPE baton_engine_requests_total counter
baton_engine_requests_total{kind="post",outcome="engine_rejected"} 1
baton_engine_requests_total{kind="post",outcome="ok"} 1
baton_engine_requests_total{kind="stream",outcome="abandoned"} 1
baton_engine_requests_total{kind="stream",outcome="ok"} 1
`), "baton_engine_requests_total")
	if err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	if err := engine.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := engine.Config{APIKey: "two words"}.Validate()
	for _, name := range []string{"connect_timeout", "first_byte_timeout", "idle_timeout", "max_answer_bytes", "max_event_bytes", "api_key"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte("engine."+name)) {
			t.Errorf("Validate = %v, does not name engine.%s", err, name)
		}
	}
}
