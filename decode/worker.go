package decode

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
)

// Stream is an answer that the engine streams; see engine.Stream.
type Stream interface {
	Next() (sse.Event, error)
	More() bool
	Close() error
}

// Engine makes decode calls.
type Engine interface {
	Post(ctx context.Context, call engine.Call) ([]byte, error)
	Stream(ctx context.Context, call engine.Call) (Stream, error)
	// Silence tells for how long nothing was heard of the engine: at most since an instant, and at most at some moment
	// between from and to.
	Silence(since, from, to time.Time) (longest, within time.Duration)
}

// FromClient makes an Engine of an engine client.
func FromClient(c *engine.Client) Engine { return client{c} }

type client struct{ *engine.Client }

func (c client) Stream(ctx context.Context, call engine.Call) (Stream, error) {
	s, err := c.Client.Stream(ctx, call)
	if err != nil {
		return nil, err // not a nil *engine.Stream in a Stream
	}
	return s, nil
}

// Reporter tells the dispatchers how far jobs are and how fast tokens come; *worker.Reporter is one.
type Reporter interface {
	Set(j wire.JobReport)
	Gap(d time.Duration, tokens int, now time.Time)
}

// Deps is what a Worker works with.
type Deps struct {
	Jobs       []worker.Source[wire.DecodeJob]
	Reporter   Reporter
	Frames     worker.Frames
	Bodies     worker.Bodies
	Engine     Engine
	Capacity   func(ctx context.Context) (kvTokens int, err error) // asks the engine; 0: it does not say
	Connector  kvtransfer.Connector
	Notify     func(worker string, c wire.Control) // sends a control message to a prefill worker
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
	Log        *slog.Logger
}

// Worker runs decode jobs on one engine.
type Worker struct {
	cfg     Config
	id      string
	deps    Deps
	room    *worker.Room
	once    once
	lent    atomic.Int64 // jobs in room that are lent or kept
	metrics *metrics
	log     *slog.Logger
}

// New returns the worker named id; Run starts it.
func New(cfg Config, id string, deps Deps) *Worker {
	m := newMetrics(deps.Registerer)
	return &Worker{
		cfg: cfg, id: id, deps: deps, metrics: m, once: once{jobs: map[handle]*begun{}},
		log: deps.Log.With(slog.String("worker", id)),
		room: worker.NewRoom(cfg.Slots, cfg.KVTokens, 1, func(jobs, tokens int) {
			m.running.Set(float64(jobs))
			m.reserved.Set(float64(tokens))
		}),
	}
}

// Run takes and runs jobs until ctx ends, then drains: running requests have DrainTimeout, after
// which the router is told to try them elsewhere. It returns nil after a drain.
func (w *Worker) Run(ctx context.Context) error {
	stage := worker.Stage[wire.DecodeJob]{
		Sources: w.deps.Jobs, Take: w.take, Work: w.work, Drain: w.cfg.DrainTimeout,
	}
	var g errgroup.Group
	g.Go(func() error { return stage.Run(ctx) })
	if w.cfg.KVTokens == 0 {
		g.Go(func() error {
			w.learnCapacity(ctx)
			return nil
		})
	}
	return g.Wait()
}

// Load is the worker's own view of its work. Safe for concurrent use.
func (w *Worker) Load() wire.Load {
	jobs, tokens, capacity := w.room.Used()
	return wire.Load{Running: jobs, Tokens: tokens, Capacity: capacity, Slots: w.cfg.Slots, Waiting: w.room.Waiting(), Lent: int(w.lent.Load())}
}

const capacityEvery = 10 * time.Second

// take reserves a slot and KV for the whole request, so that the engine never has to preempt it. What
// the dispatcher knows to be shared with others takes no room of its own.
func (w *Worker) take(ctx context.Context, job *wire.DecodeJob) (release func(), err error) {
	r := w.report(job)
	w.deps.Reporter.Set(r)
	kv := r.KV
	if a := job.Assignment; a != nil {
		kv -= min(max(0, a.Shared), r.Tokens-1)
	}
	leave, err := w.room.Enter(ctx, kv, kv, nil)
	if err != nil || !job.Assignment.Lent() {
		return leave, err
	}
	w.lent.Add(1)
	return sync.OnceFunc(func() {
		w.lent.Add(-1)
		leave()
	}), nil
}

// report is how a job stands when it comes.
func (w *Worker) report(job *wire.DecodeJob) wire.JobReport {
	// The key is the request's: dispatchers know nothing of handles.
	r := wire.JobReport{Key: job.Request.MsgID(), Stage: wire.StagePrefilling, Tokens: max(1, job.PromptTokens)}
	if h := job.Handle; h != nil {
		r.Stage, r.Cached = wire.StageDecoding, h.CachedTokens
		if h.PromptTokens > 0 {
			r.Tokens = h.PromptTokens
		}
	}
	answer := job.MaxTokens
	if answer == 0 {
		answer = w.cfg.AssumedTokens
	}
	r.KV = r.Tokens + answer
	return r
}

// learnCapacity asks the engine for the size of its KV cache until it has said it.
func (w *Worker) learnCapacity(ctx context.Context) {
	tick := time.NewTicker(capacityEvery)
	defer tick.Stop()
	for {
		tokens, err := w.deps.Capacity(ctx)
		if err == nil && tokens > 0 {
			w.log.InfoContext(ctx, "engine said the size of its KV cache", slog.Int("tokens", tokens))
			w.room.SetCapacity(tokens)
			return
		}
		w.log.DebugContext(ctx, "engine did not say the size of its KV cache", slog.Any("error", err))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
