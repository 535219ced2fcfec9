package prefill_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker/workertest"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/baton-llm/baton/prefill"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type connector struct{ err error }

func (connector) Name() string                            { return "fake" }
func (connector) PreparePrefill(b []byte) ([]byte, error) { return b, nil }
func (c connector) HandleFrom([]byte) (kvtransfer.Handle, error) {
	return kvtransfer.Handle{Connector: "fake", PromptTokens: 100}, c.err
}
func (connector) PrepareDecode(b []byte, _ *kvtransfer.Handle) ([]byte, error) { return b, nil }

// fakeEngine takes a second for each call and notes how many were there at once.
type fakeEngine struct {
	takes  time.Duration
	heldUp time.Duration // of its answers
	err    error

	mu            sync.Mutex
	running, most int
}

func (e *fakeEngine) Post(ctx context.Context, _ engine.Call) ([]byte, error) {
	e.mu.Lock()
	e.running++
	e.most = max(e.most, e.running)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.running--
		e.mu.Unlock()
	}()
	select {
	case <-time.After(e.takes):
		return []byte("{}"), e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *fakeEngine) Done(_, answered time.Time) time.Time { return answered.Add(-e.heldUp) }

func (e *fakeEngine) atOnce() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}

// bench is a worker amid fakes.
type bench struct {
	cfg    prefill.Config
	conn   connector
	engine fakeEngine
	queue  *workertest.Queue[wire.PrefillJob]
	frames *workertest.Frames
	bodies workertest.Bodies
	told   *workertest.Reports

	mu     sync.Mutex
	next   []*wire.DecodeJob
	refuse error

	worker *prefill.Worker
	ledger *kvtransfer.Ledger
}

func newBench() *bench {
	return &bench{
		cfg: prefill.DefaultConfig(), engine: fakeEngine{takes: time.Second},
		queue: workertest.NewQueue[wire.PrefillJob](), frames: workertest.NewFrames(), bodies: workertest.Bodies{}, told: workertest.NewReports(),
	}
}

func (b *bench) start(t *testing.T) (stop func()) {
	t.Helper()
	b.ledger = kvtransfer.NewLedger(prometheus.NewRegistry())
	b.worker = prefill.New(b.cfg, "p1", prefill.Deps{
		Jobs: b.queue.Source, Next: b, Reporter: b.told, Frames: b.frames, Bodies: b.bodies, Engine: &b.engine, Connector: b.conn, Ledger: b.ledger,
		Registerer: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.worker.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// Publish makes the bench the decode queue.
func (b *bench) Publish(_ context.Context, job *wire.DecodeJob) (bus.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return bus.Receipt{}, b.refuse
	}
	b.next = append(b.next, job)
	return bus.Receipt{Seq: uint64(len(b.next))}, nil
}

func (b *bench) handed() []*wire.DecodeJob {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

func (b *bench) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func job(i, tokens int) wire.PrefillJob {
	body := fmt.Appendf(nil, `{"prompt":"%d"}`, i)
	return wire.PrefillJob{
		Body: body, Assignment: &wire.Assignment{Place: wire.PlaceSplit, Decode: "d1", Why: "split"},
		Request: wire.Request{
			ID: fmt.Sprint("r", i), Frontend: "f", Stream: uint64(i), Attempt: 1, Model: "m", Digest: wire.BodyDigest(body), PromptTokens: tokens,
		},
	}
}

// after lets virtual time pass and everything settle.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestBudgetKeepsAtMostOnePromptAhead(t *testing.T) {
	for _, tc := range []struct {
		tokens, atOnce int
	}{{10000, 2}, {4096, 2}, {2000, 5}, {1000, 9}} {
		t.Run(fmt.Sprint(tc.tokens), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				for i := range 20 {
					b.queue.Put(job(i, tc.tokens), 1)
				}
				stop := b.start(t)
				after(500 * time.Millisecond)
				if got := b.engine.atOnce(); got != tc.atOnce {
					t.Errorf("%d prompts of %d tokens at the engine, want %d", got, tc.tokens, tc.atOnce)
				}
				stop()
			})
		})
	}
}

func TestHandedJobCarriesABoundHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.engine.heldUp = 400 * time.Millisecond
		begun := time.Now()
		b.queue.Put(job(1, 100), 1)
		stop := b.start(t)
		after(2 * time.Second)
		stop()
		next := b.handed()
		if len(next) != 1 {
			t.Fatalf("%d decode jobs, want 1", len(next))
		}
		h, want := next[0].Handle, job(1, 100)
		if got := h.Issued.Sub(begun); got != 600*time.Millisecond {
			t.Errorf("the lease began after %v, want 0.6s: the engine had made the handle before its answer was held up", got)
		}
		if h.Worker != "p1" || h.Digest != want.Digest || h.RequestID != "r1" || h.Expires.Sub(h.Issued) != b.cfg.Lease {
			t.Errorf("handle = %+v", h)
		}
		if string(next[0].Body) != string(want.Body) {
			t.Errorf("a small body did not travel inline")
		}
		if next[0].Worker != "d1" || next[0].Assignment == nil {
			t.Errorf("decode job is for %q, want the worker whose room is reserved", next[0].Worker)
		}
		f := b.frames.Of("r1")
		if len(f) != 2 || f[0].Kind != wire.Prefilling || f[1].Kind != wire.Handed {
			t.Fatalf("frames = %v", f)
		}
		if decision, err := wire.ReadAssignment(f[0].Payload); err != nil || decision != *want.Assignment {
			t.Errorf("prefilling says %+v, %v, want the dispatcher's decision", decision, err)
		}
		if info, err := wire.ReadHandedInfo(f[1].Payload); err != nil || info.DecodeWorker != "d1" || info.PromptTokens != 100 || info.Lease != b.cfg.Lease-b.engine.heldUp {
			t.Errorf("handed says %+v, %v", info, err)
		}
	})
}

func TestOpenHandlesHoldTheNextPromptUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.cfg.MaxHandles = 3
		for i := range 5 {
			b.queue.Put(job(i, 10), 1)
		}
		stop := b.start(t)
		after(5 * time.Second)
		begun := func() (n int) {
			for i := range 5 {
				if len(b.frames.Of(job(i, 10).ID)) > 0 {
					n++
				}
			}
			return n
		}
		if got := begun(); got != 3 {
			t.Errorf("%d jobs begun with 3 handles allowed", got)
		}
		b.worker.Control("d1", wire.Control{Kind: wire.HandleConsumed, Run: b.handed()[0].Handle.Serial})
		synctest.Wait()
		if got := begun(); got != 4 {
			t.Errorf("%d jobs begun after one handle was consumed, want 4", got)
		}
		after(b.cfg.Lease)
		if got := begun(); got != 5 {
			t.Errorf("%d jobs begun after the leases ended, want 5", got)
		}
		stop()
	})
}

func TestEveryFailureIsToldAndDone(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*bench, *wire.PrefillJob)
		want   wire.Reason
	}{
		"engine refuses":    {func(b *bench, _ *wire.PrefillJob) { b.engine.err = &engine.StatusError{Status: 400} }, wire.EngineRejected},
		"engine fails":      {func(b *bench, _ *wire.PrefillJob) { b.engine.err = &engine.StatusError{Status: 500} }, wire.EngineError},
		"no handle":         {func(b *bench, _ *wire.PrefillJob) { b.conn.err = kvtransfer.ErrNoHandle }, wire.NoHandle},
		"unreadable answer": {func(b *bench, _ *wire.PrefillJob) { b.conn.err = errors.New("not JSON") }, wire.EngineError},
		"body gone":         {func(_ *bench, j *wire.PrefillJob) { j.Body, j.BodyRef = nil, "x" }, wire.BodyGone},
		"body changed":      {func(_ *bench, j *wire.PrefillJob) { j.Body = []byte("{}") }, wire.BodyGone},
		"deadline":          {func(_ *bench, j *wire.PrefillJob) { j.Deadline = time.Now().Add(time.Millisecond) }, wire.DeadlineOver},
		"deadline before":   {func(_ *bench, j *wire.PrefillJob) { j.Deadline = time.Now().Add(-time.Hour) }, wire.DeadlineOver},
		"decode queue full": {func(b *bench, _ *wire.PrefillJob) { b.refuse = errors.New("full") }, wire.HandleExpired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1, 10)
				tc.change(b, &j)
				b.queue.Put(j, 1)
				stop := b.start(t)
				after(time.Minute)
				stop()
				if got := b.frames.Reason("r1"); got != tc.want {
					t.Errorf("reason = %q, want %q", got, tc.want)
				}
				if _, done, retried := b.queue.Counts(); done != 1 || retried != 0 {
					t.Errorf("%d done, %d handed back, want 1 and 0", done, retried)
				}
				want := "prefilling ended"
				if b.ledger.Totals().Issued > 0 {
					want = "prefilling handed ended"
				}
				if got := b.told.Stages("f.1.1"); got != want {
					t.Errorf("the dispatchers hear %q, want %q", got, want)
				}
			})
		})
	}
}

func TestDispatchersHearOfEachStage(t *testing.T) {
	for name, end := range map[string]func(b *bench){
		"consumed": func(b *bench) { b.worker.Control("d1", wire.Control{Kind: wire.HandleConsumed, Run: 1}) },
		"released": func(b *bench) { b.worker.Control("d1", wire.Control{Kind: wire.HandleReleased, Run: 1}) },
		"expired":  func(b *bench) { after(b.cfg.Lease + time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.queue.Put(job(1, 40), 1)
				stop := b.start(t)
				after(2 * time.Second)
				if got := b.told.Stages("f.1.1"); got != "prefilling handed" {
					t.Errorf("with the handle out the dispatchers heard %q", got)
				}
				end(b)
				stop()
				want := []wire.JobReport{
					{Key: "f.1.1", Stage: wire.StagePrefilling, Tokens: 40, KV: 40},
					{Key: "f.1.1", Stage: wire.StageHanded, Tokens: 100, KV: 100}, // as the engine counted
					{Key: "f.1.1", Stage: wire.StageEnded},
				}
				if got := b.told.Of("f.1.1"); !slices.Equal(got, want) {
					t.Errorf("the dispatchers heard %+v, want %+v", got, want)
				}
			})
		})
	}
}

func TestCancelBeforeTheHandleAbortsAndAfterItStillHandsOver(t *testing.T) {
	for name, tc := range map[string]struct {
		at     time.Duration
		handed int
	}{"in the engine": {500 * time.Millisecond, 0}, "while publishing": {1500 * time.Millisecond, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.refuse = errors.New("full")
				b.queue.Put(job(1, 10), 1)
				stop := b.start(t)
				after(tc.at)
				b.frames.Cancel("r1")
				b.set(func() { b.refuse = nil })
				after(5 * time.Second)
				told := b.told.Stages("f.1.1")
				stop()
				if got := len(b.handed()); got != tc.handed {
					t.Errorf("%d decode jobs, want %d", got, tc.handed)
				}
				if _, done, _ := b.queue.Counts(); done != 1 {
					t.Errorf("%d deliveries done, want 1", done)
				}
				want := "prefilling ended"
				if tc.handed > 0 {
					want = "prefilling handed" // until somebody has read it
				}
				if told != want {
					t.Errorf("the dispatchers hear %q, want %q", told, want)
				}
			})
		})
	}
}

// An engine may stop with its worker, and with it what nobody has read yet.
func TestDrainWaitsForTheHandlesThatAreOut(t *testing.T) {
	for name, tc := range map[string]struct {
		read, drain, want time.Duration // read 0: never
	}{
		"read":                      {5 * time.Second, 20 * time.Second, 5 * time.Second},
		"never read":                {0, time.Hour, prefill.DefaultConfig().Lease},
		"not read within the drain": {0, 10 * time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.cfg.DrainTimeout = tc.drain
				b.queue.Put(job(1, 10), 1)
				stop := b.start(t)
				after(b.engine.takes)
				if tc.read > 0 {
					time.AfterFunc(tc.read, func() { b.worker.Control("d1", wire.Control{Kind: wire.HandleConsumed, Run: 1}) })
				}
				begun := time.Now()
				stop()
				if took := time.Since(begun); took != tc.want {
					t.Errorf("the drain took %v, want %v", took, tc.want)
				}
			})
		})
	}
}

func TestDrainFinishesWhatItCanAndHandsBackTheRest(t *testing.T) {
	for name, tc := range map[string]struct {
		takes         time.Duration
		done, retried int
	}{"in time": {20 * time.Second, 1, 0}, "too slow": {time.Hour, 0, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.engine.takes = tc.takes
				b.queue.Put(job(1, 10), 1)
				stop := b.start(t)
				after(time.Second)
				stop()
				if _, done, retried := b.queue.Counts(); done != tc.done || retried != tc.retried {
					t.Errorf("%d done, %d handed back, want %d and %d", done, retried, tc.done, tc.retried)
				}
			})
		})
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := prefill.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (prefill.Config{}).Validate(); err == nil {
		t.Error("an empty Config is valid")
	}
}
