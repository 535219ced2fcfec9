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
}

// Next publishes a job to the decode queue. The same job published twice must be one job.
type Next func(ctx context.Context, job *wire.DecodeJob) error

// Deps is what a Worker works with.
type Deps struct {
	Jobs       worker.Jobs[wire.PrefillJob]
	Next       Next
	QueueDepth func(ctx context.Context) (int, error) // jobs in the decode queue
	Frames     worker.Frames
	Bodies     worker.Bodies
	Engine     Engine
	EngineURL  string          // for people
	Models     func() []string // that the engine serves now
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
	ratio float64 // real prompt tokens per estimated one, moving average

	depth   int       // decode queue, as last seen; only the pull loop uses it
	depthAt time.Time //
}

// New returns the worker named id; Run starts it.
func New(cfg Config, id string, deps Deps) *Worker {
	m := newMetrics(deps.Registerer)
	return &Worker{
		cfg: cfg, id: id, deps: deps, metrics: m, ratio: 1,
		log: deps.Log.With(slog.String("worker", id)),
		// Two prompts may always be there, so that the engine finds the next one waiting
		// however long they are.
		room: worker.NewRoom(0, cfg.BatchTokens, 2, func(_, tokens int) { m.tokens.Set(float64(tokens)) }),
	}
}

// Run pulls and runs jobs until ctx ends, then drains: running jobs have DrainTimeout, after which
// they are handed back to the queue. It returns nil after a drain.
func (w *Worker) Run(ctx context.Context) error {
	stage := worker.Stage[wire.PrefillJob]{
		Jobs: w.deps.Jobs, Models: w.deps.Models, Ready: w.ready, Take: w.take, Work: w.work,
		Drain: w.cfg.DrainTimeout, Log: w.log,
	}
	expiry, stop := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return stage.Run(ctx)
	})
	g.Go(func() error {
		w.expire(expiry)
		return nil
	})
	return g.Wait()
}

// Load is the worker's own view of its work. Safe for concurrent use.
func (w *Worker) Load() wire.Load {
	jobs, tokens, capacity := w.room.Used()
	return wire.Load{Running: jobs, Tokens: tokens, Capacity: capacity, Handles: w.deps.Ledger.Open()}
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
	case wire.Ack, wire.Resend, wire.Cancel:
		return
	}
	if !w.deps.Ledger.End(c.Run, end) {
		w.log.Debug("handle had ended already", slog.Uint64("serial", c.Run), slog.String("sender", sender))
		return
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
			if n := w.deps.Ledger.Expire(now); n > 0 {
				w.log.WarnContext(ctx, "handles expired unread", slog.Int("handles", n))
				w.room.Notify()
			}
		case <-ctx.Done():
			return
		}
	}
}

// ready waits until one more job may be pulled. One at a time: the next prompt is bound as late
// as possible.
func (w *Worker) ready(ctx context.Context) (int, error) {
	return w.room.Wait(ctx, 1, func(ctx context.Context) bool {
		jobs, _, _ := w.room.Used()
		return jobs+w.deps.Ledger.Open() < w.cfg.MaxHandles && w.decodeQueue(ctx) < w.cfg.MaxDecodeQueue
	})
}

const depthEvery = 100 * time.Millisecond

// decodeQueue returns the depth of the decode queue, at most depthEvery old. A queue that cannot
// be asked does not stop the pulling: the publish that follows meets its limit.
func (w *Worker) decodeQueue(ctx context.Context) int {
	if time.Since(w.depthAt) < depthEvery {
		return w.depth
	}
	depth, err := w.deps.QueueDepth(ctx)
	if err != nil {
		w.log.DebugContext(ctx, "decode queue not asked", slog.Any("error", err))
		depth = 0
	}
	w.depth, w.depthAt = depth, time.Now()
	return depth
}

func (w *Worker) take(_ context.Context, job *wire.PrefillJob) (release func(), err error) {
	w.mu.Lock()
	tokens := float64(max(1, job.PromptTokens)) * w.ratio
	w.mu.Unlock()
	return w.room.Add(max(1, int(math.Round(tokens)))), nil
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
