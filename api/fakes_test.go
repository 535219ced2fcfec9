package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/pipenet"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeRouter answers each request by do and counts them.
type fakeRouter struct {
	do    func(ctx context.Context, req *router.Request) (Answer, error)
	calls atomic.Int32
	last  atomic.Pointer[router.Request]
}

func (f *fakeRouter) Do(ctx context.Context, req *router.Request) (Answer, error) {
	f.calls.Add(1)
	f.last.Store(req)
	a, err := f.do(ctx, req)
	if s, ok := a.(interface{ asked(req *router.Request) }); ok {
		s.asked(req)
	}
	return a, err
}

// script is an Answer of the given payloads, which ends with err (nil: io.EOF), after hold ends.
type script struct {
	payloads []string // of a plain stream: data of one event, or blocks
	blocks   bool
	err      error
	hold     <-chan struct{} // before the end; nil: none
	closed   chan struct{}
	once     sync.Once
}

func newScript(err error, payloads ...string) *script {
	return &script{payloads: payloads, err: err, closed: make(chan struct{})}
}

// asked has the script answer in the form that a request wants: a plain stream is of blocks.
func (s *script) asked(req *router.Request) {
	s.blocks = req.Streaming && wire.DialectOf(req.Path) == wire.Plain
}

func (s *script) Next(ctx context.Context) ([]byte, error) {
	if len(s.payloads) > 0 {
		p := s.payloads[0]
		s.payloads = s.payloads[1:]
		if s.blocks && !strings.HasPrefix(p, "data: ") {
			return sse.Append(nil, nil, []byte(p)), nil
		}
		return []byte(p), nil
	}
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, io.EOF
}

func (s *script) More() bool            { return false }
func (s *script) Direct(router.Writer)  {}
func (s *script) Timing() router.Timing { return router.Timing{} }
func (s *script) Usage() wire.EndInfo   { return wire.EndInfo{} }
func (s *script) Close()                { s.once.Do(func() { close(s.closed) }) }

func answering(a Answer) *fakeRouter {
	return &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return a, nil }}
}

func failing(err error) *fakeRouter {
	return &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return nil, err }}
}

// fakeFleet serves the models it holds.
type fakeFleet []wire.Model

func (f fakeFleet) Models() []wire.Model { return f }

func (f fakeFleet) Model(id string) (fleet.Status, bool) {
	for _, m := range f {
		if m.ID == id {
			return fleet.Status{Prefill: 1, Decode: 1}, true
		}
	}
	return fleet.Status{}, false
}

func (f fakeFleet) Missing() []string {
	if len(f) == 0 {
		return []string{"no worker has announced itself"}
	}
	return nil
}

var oneModel = fakeFleet{{ID: "m"}}

// lockedBuffer is a log that is written and read by several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// harness is a server on a loopback port, or on a network in memory.
type harness struct {
	server *Server
	addr   string
	url    string
	dial   dialer
	reg    *prometheus.Registry
	log    *lockedBuffer
	stop   context.CancelFunc // begins the drain
	served <-chan error       // what Serve returned
}

// start serves until the test ends. change may be nil.
func start(t *testing.T, r Router, f Fleet, change func(*Config)) *harness {
	t.Helper()
	return startWith(t, r, f, nil, change)
}

// startWith asks for keys unless they are nil.
func startWith(t *testing.T, r Router, f Fleet, keys *auth.Keyring, change func(*Config)) *harness {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, new(net.Dialer).DialContext, r, f, keys, change)
}

// startVirtual serves in memory, so that in a testing/synctest bubble hours cost nothing.
func startVirtual(t *testing.T, r Router, f Fleet, change func(*Config)) *harness {
	t.Helper()
	mem := pipenet.New()
	ln, err := mem.Listen("frontend:8000")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, mem.Dial, r, f, nil, change)
}

// dialer is how a test's clients reach its listener.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func startOn(t *testing.T, ln net.Listener, dial dialer, r Router, f Fleet, keys *auth.Keyring, change func(*Config)) *harness {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DrainTimeout = 10 * time.Second
	if change != nil {
		change(&cfg)
	}
	h := &harness{dial: dial, reg: prometheus.NewRegistry(), log: &lockedBuffer{}}
	h.server = New(cfg, Deps{
		Router: r, Fleet: f, Metrics: scrape, Keys: keys, Registerer: h.reg, Version: "v1", Log: slog.New(slog.NewTextHandler(h.log, nil)),
	})
	h.server.few = 0 // as if there were many requests; those over TLS and HTTP/2, and of other packages, stay in net/http
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		served <- h.server.Serve(ctx, ln)
		close(ended)
	}()
	h.addr, h.url, h.stop, h.served = ln.Addr().String(), "http://"+ln.Addr().String(), cancel, served
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		<-ended
	})
	return h
}

func (h *harness) request(t *testing.T, method, path, body string, header ...string) *http.Request {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = bytes.NewBufferString(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, in)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// do sends a request and reads the whole answer; header alternates names and values.
func (h *harness) do(t *testing.T, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(h.request(t, method, path, body, header...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// counted waits until the request is counted, which is after its answer was read.
func (h *harness) counted(t *testing.T, route, status string) {
	t.Helper()
	h.await(t, "baton_http_requests_total", func(sum float64) bool { return sum > 0 }, "route", route, "status", status)
}

// metric waits until a counter or gauge has a value, summed over the series that have the labels.
func (h *harness) metric(t *testing.T, name string, want float64, labels ...string) {
	t.Helper()
	h.await(t, name, func(sum float64) bool { return sum == want }, labels...)
}

// await waits for a counter or gauge; labels alternates names and values.
func (h *harness) await(t *testing.T, name string, ok func(sum float64) bool, labels ...string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(5 * time.Second)
	for {
		sum, err := h.sum(name, labels)
		if err != nil {
			t.Fatal(err)
		}
		if ok(sum) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s%q is %v", name, labels, sum)
		}
	}
}

func (h *harness) sum(name string, labels []string) (sum float64, err error) {
	families, err := h.reg.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			match := f.GetName() == name
			for i := 0; i+1 < len(labels); i += 2 {
				match = match && have[labels[i]] == labels[i+1]
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum, err
}

// gauge is the value of a metric without labels, now.
func (h *harness) gauge(t *testing.T, name string) float64 {
	t.Helper()
	value, err := h.sum(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

const (
	chatPath = "/v1/chat/completions"
	chatBody = `{"model":"m","messages":[{"role":"user","content":"a secret"}]}`
	chatSSE  = `{"model":"m","stream":true,"messages":[{"role":"user","content":"a secret"}]}`
)
