package prefill

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
)

// Engine makes prefill calls.
type Engine interface {
	Post(ctx context.Context, call engine.Call) ([]byte, error)
	// Done is the earliest instant at which the engine may have done what Post brought at answered.
	Done(begun, answered time.Time) time.Time
}

// Reporter tells the dispatchers how far jobs are; *worker.Reporter is one.
type Reporter interface {
	Set(j wire.JobReport)
	End(key string)
}

// Deps is what a Worker works with.
type Deps struct {
	Jobs       worker.Source[wire.PrefillJob]
	Next       worker.DecodeQueue
	Reporter   Reporter
	Frames     worker.Frames
	Bodies     worker.Bodies
	Engine     Engine
	EngineURL  string // for people
	Connector  kvtransfer.Connector
	Ledger     *kvtransfer.Ledger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
	Log        *slog.Logger
}

// Worker runs prefill jobs on one engine.
type Worker struct {
	cfg     Config
	id      string
	deps    Deps
	room    *worker.Room
	metrics *metrics
	log     *slog.Logger

	mu    sync.Mutex
	ratio float64           // real prompt tokens per estimated one, moving average
	out   map[uint64]string // keys of the jobs whose handles are open, by serial
}

// New returns the worker named id; Run starts it.
func New(cfg Config, id string, deps Deps) *Worker {
	m := newMetrics(deps.Registerer)
	return &Worker{
		cfg: cfg, id: id, deps: deps, metrics: m, ratio: 1, out: map[uint64]string{},
		log: deps.Log.With(slog.String("worker", id)),
		// Two prompts may always be there, so that the engine finds the next one waiting
		// however long they are.
		room: worker.NewRoom(0, cfg.BatchTokens, 2, func(_, tokens int) { m.tokens.Set(float64(tokens)) }),
	}
}

// Run takes and runs jobs until ctx ends, then drains: running jobs have DrainTimeout, after which
// they are handed back to the queue, and within that time the handles that are out shall be read. It
// returns nil after a drain.
func (w *Worker) Run(ctx context.Context) error {
	stage := worker.Stage[wire.PrefillJob]{
		Sources: []worker.Source[wire.PrefillJob]{w.deps.Jobs}, Take: w.take, Work: w.work, Drain: w.cfg.DrainTimeout,
	}
	expiry, stop := context.WithCancel(context.WithoutCancel(ctx))
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(w.cfg.DrainTimeout, end)
		context.AfterFunc(over, func() { timer.Stop() })
	})
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		err := stage.Run(ctx)
		w.settle(over)
		return err
	})
	g.Go(func() error {
		w.expire(expiry)
		return nil
	})
	return g.Wait()
}

// settle waits until no handle is out, or ctx ends: the engine may be about to stop with its worker.
func (w *Worker) settle(ctx context.Context) {
	release, err := w.room.Enter(ctx, 0, 0, func(int) bool { return w.deps.Ledger.Open() == 0 })
	if err == nil {
		release()
	}
}

// Load is the worker's own view of its work. Safe for concurrent use.
func (w *Worker) Load() wire.Load {
	jobs, tokens, capacity := w.room.Used()
	return wire.Load{Running: jobs, Tokens: tokens, Capacity: capacity, Handles: w.deps.Ledger.Open(), Waiting: w.room.Waiting()}
}

// Control takes what decode workers say of this worker's handles; other kinds are ignored. Safe
// for concurrent use.
func (w *Worker) Control(sender string, c wire.Control) {
	var end kvtransfer.End
	switch c.Kind {
	case wire.HandleConsumed:
		end = kvtransfer.Consumed
	case wire.HandleReleased:
		end = kvtransfer.Released
	case wire.Ack, wire.Resend, wire.Cancel, wire.Ask:
		return
	}
	if !w.deps.Ledger.End(c.Run, end) {
		w.log.Debug("handle had ended already", slog.Uint64("serial", c.Run), slog.String("sender", sender))
		return
	}
	w.closed(c.Run)
}

// opened notes whose job a handle is, so that its end can be reported.
func (w *Worker) opened(serial uint64, key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out[serial] = key
}

// closed reports the end of a handle's job here: the engine holds nothing of it any more.
func (w *Worker) closed(serial uint64) {
	w.mu.Lock()
	key, out := w.out[serial]
	delete(w.out, serial)
	w.mu.Unlock()
	if out {
		w.deps.Reporter.End(key)
	}
	w.room.Notify()
}

// expire ends the handles whose lease is over, until ctx ends.
func (w *Worker) expire(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			serials := w.deps.Ledger.Expire(now)
			if len(serials) == 0 {
				continue
			}
			w.log.WarnContext(ctx, "handles expired unread", slog.Int("handles", len(serials)))
			for _, serial := range serials {
				w.closed(serial)
			}
		case <-ctx.Done():
			return
		}
	}
}

// take waits until the engine may have one more prompt and, with it, one more handle may be out.
func (w *Worker) take(ctx context.Context, job *wire.PrefillJob) (release func(), err error) {
	tokens := w.estimate(job)
	w.deps.Reporter.Set(wire.JobReport{Key: job.MsgID(), Stage: wire.StagePrefilling, Tokens: tokens, KV: tokens})
	return w.room.Enter(ctx, tokens, 1, w.handlesLeft)
}

// handlesLeft tells whether one more handle may be out beside those of so many jobs.
func (w *Worker) handlesLeft(jobs int) bool { return jobs+w.deps.Ledger.Open() < w.cfg.MaxHandles }

// estimate is the length of a prompt in tokens, by what the engine counted of earlier ones.
func (w *Worker) estimate(job *wire.PrefillJob) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(1, int(math.Round(float64(max(1, job.PromptTokens))*w.ratio)))
}

// learn corrects the estimates of later jobs by what the engine counted.
func (w *Worker) learn(estimated, counted int) {
	if estimated <= 0 || counted <= 0 {
		return
	}
	const weight, most = 0.1, 8
	ratio := min(most, max(1.0/most, float64(counted)/float64(estimated)))
	w.mu.Lock()
	w.ratio += weight * (ratio - w.ratio)
	w.mu.Unlock()
}
