package decode_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/internal/worker/workertest"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type connector struct{}

func (connector) Name() string                                                 { return "fake" }
func (connector) PreparePrefill(b []byte) ([]byte, error)                      { return b, nil }
func (connector) HandleFrom([]byte) (kvtransfer.Handle, error)                 { return kvtransfer.Handle{}, nil }
func (connector) PrepareDecode(b []byte, _ *kvtransfer.Handle) ([]byte, error) { return b, nil }

// fakeEngine answers each event after a tenth of a second, but for those that are there with the one before.
type fakeEngine struct {
	events []string // data, or "@name data"; after a "+": there with the one before
	err    error    // of the call
	end    error    // after the events; nil: io.EOF
	answer []byte
	late   time.Duration // the first event, beyond gap
	silent time.Duration // at any moment

	mu                   sync.Mutex
	calls, running, most int
	body                 []byte // of the last call
}

const gap = 100 * time.Millisecond

func (e *fakeEngine) enter(call engine.Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.body = call.Body
	e.calls++
	e.running++
	e.most = max(e.most, e.running)
}

func (e *fakeEngine) leave() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	return nil
}

func (e *fakeEngine) counts() (calls, running, most int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls, e.running, e.most
}

func (e *fakeEngine) Post(ctx context.Context, call engine.Call) ([]byte, error) {
	e.enter(call)
	defer func() { _ = e.leave() }()
	select {
	case <-time.After(gap):
		return e.answer, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *fakeEngine) Stream(ctx context.Context, call engine.Call) (decode.Stream, error) {
	if e.err != nil {
		return nil, e.err
	}
	e.enter(call)
	return &stream{e: e, ctx: ctx, rest: e.events}, nil
}

func (e *fakeEngine) Silence(_, _, _ time.Time) (longest, within time.Duration) {
	return e.silent, e.silent
}

type stream struct {
	e    *fakeEngine
	ctx  context.Context //nolint:containedctx // of the call
	rest []string
}

func (s *stream) Next() (sse.Event, error) {
	wait := gap
	if len(s.rest) == len(s.e.events) {
		wait += s.e.late
	}
	if s.More() {
		wait = 0
	}
	select {
	case <-time.After(wait):
	case <-s.ctx.Done():
		return sse.Event{}, s.ctx.Err()
	}
	if len(s.rest) == 0 {
		if s.e.end != nil {
			return sse.Event{}, s.e.end
		}
		return sse.Event{}, io.EOF
	}
	event := strings.TrimPrefix(s.rest[0], "+")
	s.rest = s.rest[1:]
	name := ""
	if named, ok := strings.CutPrefix(event, "@"); ok {
		name, event, _ = strings.Cut(named, " ")
	}
	return sse.Event{Name: []byte(name), Data: []byte(event)}, nil
}

func (s *stream) More() bool { return len(s.rest) > 0 && strings.HasPrefix(s.rest[0], "+") }

func (s *stream) Close() error { return s.e.leave() }

// bench is a worker amid fakes.
type bench struct {
	cfg      decode.Config
	engine   fakeEngine
	queue    *workertest.Queue[wire.DecodeJob]
	frames   *workertest.Frames
	bodies   workertest.Bodies
	reports  *workertest.Reports
	capacity int

	mu   sync.Mutex
	told []string // "worker kind serial"
}

func newBench() *bench {
	return &bench{
		cfg: decode.DefaultConfig(), engine: fakeEngine{answer: []byte("{}"), events: []string{`{"a":1}`, `{"a":2}`, `{"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}`}},
		queue: workertest.NewQueue[wire.DecodeJob](), frames: workertest.NewFrames(), bodies: workertest.Bodies{}, reports: workertest.NewReports(),
	}
}

func (b *bench) start(t *testing.T) (stop func()) {
	t.Helper()
	w := decode.New(b.cfg, "d1", decode.Deps{
		Jobs: []worker.Source[wire.DecodeJob]{b.queue.Source}, Reporter: b.reports, Frames: b.frames, Bodies: b.bodies, Engine: &b.engine, Connector: connector{},
		Capacity: func(context.Context) (int, error) { return b.capacity, nil },
		Notify: func(worker string, c wire.Control) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, fmt.Sprintf("%s %d %d", worker, c.Kind, c.Run))
		},
		Registerer: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func (b *bench) notes() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.told)
}

var (
	consumed = fmt.Sprintf("p1 %d 5", wire.HandleConsumed)
	released = fmt.Sprintf("p1 %d 5", wire.HandleReleased)
)

func job(i int) wire.DecodeJob {
	body := fmt.Appendf(nil, `{"prompt":"%d"}`, i)
	digest := wire.BodyDigest(body)
	return wire.DecodeJob{
		Body: body,
		Request: wire.Request{
			ID: fmt.Sprint("r", i), Frontend: "f", Stream: uint64(i), Attempt: 1, Model: "m", Streaming: true, Digest: digest, PromptTokens: 100, MaxTokens: 100,
		},
		Handle: &kvtransfer.Handle{Connector: "fake", Worker: "p1", Serial: uint64(4 + i), Digest: digest, Issued: time.Now(), Expires: time.Now().Add(30 * time.Second)},
	}
}

// after lets virtual time pass and everything settle.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func kinds(frames []wire.Frame) string {
	var names []string
	for _, f := range frames {
		names = append(names, f.Kind.String())
	}
	return strings.Join(names, " ")
}
