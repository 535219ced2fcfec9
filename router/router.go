package router

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/resume"
	"github.com/baton-llm/baton/router/series"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Queue takes the jobs that have not begun; *bus.Queue is one.
type Queue interface {
	Publish(ctx context.Context, job *wire.PrefillJob) (bus.Receipt, error)
	Remove(ctx context.Context, seq uint64) (bool, error)
	Lost(ctx context.Context, jobs map[string]uint64) ([]string, error) // of jobs by MsgID
}

// Fleet knows who serves what; *fleet.Fleet is one.
type Fleet interface {
	Model(id string) (fleet.Status, bool)
	Models() []wire.Model
	Missing() []string
	Alive(worker string) bool
	OnGone(func(worker string))
}

// Receiver brings the workers' frames; *relay.Receiver is one.
type Receiver interface {
	Run(ctx context.Context) error
	Open(stream uint64, sink relay.Sink)
	Close(stream uint64)
	Consumed(id relay.RunID, seq uint32)
	Cancel(id relay.RunID)
}

// Deps is what a Router works with.
type Deps struct {
	Queue      Queue
	Abandon    func(model string, keys []string) error // tells the dispatchers of queued jobs that nobody wants
	Bodies     Bodies
	Fleet      Fleet
	Receiver   Receiver
	Aim        series.Aim // what a request must keep to count as good, for people
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
	Log        *slog.Logger
}

// Request is what api wants answered.
type Request struct {
	ID          string // unique; the engine's request id is made from it
	Path        string // HTTP path at the engine
	Model       string
	Tenant      string
	Traceparent string // the client's; may be empty

	Class        wire.Class
	Streaming    bool         // the client asked for SSE
	Usage        bool         // and for the token counts in it
	Resume       resume.Terms // how its answer can be continued
	Body         []byte       // the client's bytes; nobody changes them until the answer is closed and, if it was given up, Config.Linger is over
	Deadline     time.Time    // zero: none
	PromptTokens int          // estimate
	MaxTokens    int          // 0: not said
	Whole        bool         // must not be split: one engine does all of it
	Prefix       []uint64     // see wire.PrefillJob
}

// Router is one frontend's router. Its methods are safe for concurrent use.
type Router struct {
	cfg       Config
	name      string
	deps      Deps
	log       *slog.Logger
	metrics   *metrics
	admission *admission
	bodies    shelf
	chores    chan chore
	past      past
	figures   *series.Series

	mu      sync.Mutex
	calls   map[uint64]*call
	stream  uint64
	empty   chan struct{} // closed when calls is empty; nil: nobody waits
	stopped bool          // Run has ended what was in flight
}

// New makes the router of the frontend called name; Run makes it work. Its owner hands frames of
// wire.FramesSubject(name) to the receiver, requests on wire.BodySubject(name) to Body and on
// wire.QueueSubject(name) to Waiting, and messages on wire.RefuseSubject(name) to Refused.
func New(cfg Config, name string, deps Deps) *Router {
	r := &Router{
		cfg: cfg, name: name, deps: deps, log: deps.Log, metrics: newMetrics(deps.Registerer),
		admission: newAdmission(&cfg), chores: make(chan chore, maxChores), figures: series.New(deps.Aim), calls: map[uint64]*call{},
		// A new process under an old name must not use numbers that its queues remember.
		stream: rand.Uint64N(1 << 48),
	}
	r.bodies = shelf{r: r, bodies: map[uint64][]byte{}}
	deps.Registerer.MustRegister(line{r})
	deps.Fleet.OnGone(r.gone)
	return r
}

// Run runs the receiver, removes what nobody wants and looks after what is queued until ctx ends; then it ends what is in
// flight and refuses what comes later. Call Drain first to let requests finish. It returns nil, or
// why the receiver gave up. It may be called once.
func (r *Router) Run(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	receiving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	gaveUp := make(chan error, 1)
	g.Go(func() { gaveUp <- r.deps.Receiver.Run(receiving) })
	cleaning, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g.Go(func() { r.clean(cleaning) })
	g.Go(func() { r.patrol(cleaning) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-gaveUp:
	}
	for _, c := range r.close() {
		c.stop(errStopped)
	}
	return err
}

// close refuses new requests and returns those in flight.
func (r *Router) close() []*call {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	return r.inFlight()
}

// Drain waits until no answer is in flight, or returns ctx's cause. It refuses no new request.
func (r *Router) Drain(ctx context.Context) error {
	r.mu.Lock()
	if len(r.calls) == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.empty == nil {
		r.empty = make(chan struct{})
	}
	empty := r.empty
	r.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Do admits, publishes and waits until the first piece of a streaming answer, the whole of another
// one, or its failure exists. The error is an *Error, or ctx's cause. When ctx ends, even after Do has
// returned, the client has left: the request is cancelled wherever it is. The answer must be closed.
func (r *Router) Do(ctx context.Context, req *Request) (*Answer, error) {
	c, err := r.admit(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := c.drive(ctx); err != nil {
		c.release()
		return nil, err
	}
	return &Answer{c: c}, nil
}

// admit enters the request, whose call ends with ctx or at its deadline.
func (r *Router) admit(ctx context.Context, req *Request) (*call, error) {
	if ctx.Err() != nil {
		return nil, ended(context.Cause(ctx))
	}
	now := time.Now()
	refused := r.servable(req.Model)
	if refused == nil {
		refused = r.admission.enter(req.Class, len(req.Body), now)
	}
	if refused != nil {
		r.metrics.rejected.WithLabelValues(refused.Reason).Inc()
		return nil, refused
	}
	c := r.open(ctx, req, now)
	c.left = ctx.Done()
	unhook := context.AfterFunc(ctx, func() { c.stop(context.Cause(ctx)) })
	if req.Deadline.IsZero() {
		c.hold(func() { unhook() })
		return c, nil
	}
	late := time.AfterFunc(time.Until(req.Deadline), func() { c.stop(errDeadline) })
	c.hold(func() {
		unhook()
		late.Stop()
	})
	return c, nil
}

// servable refuses a model that no worker served lately. One whose workers are away for the
// moment is queued for.
func (r *Router) servable(model string) *Error {
	if _, known := r.deps.Fleet.Model(model); known {
		return nil
	}
	if len(r.deps.Fleet.Models()) == 0 {
		return noWorker(r.deps.Fleet.Missing())
	}
	return noModel(model)
}

// open makes the call and enters it into the tables.
func (r *Router) open(ctx context.Context, req *Request, now time.Time) *call {
	c := &call{
		r: r, req: req, ask: newAsk(req, now), admitted: now, span: r.startSpan(ctx, req, now),
		wake: make(chan struct{}, 1), attempt: 1, again: true, timing: Timing{Attempts: 1, Whole: req.Whole},
		gaps: r.metrics.interToken.WithLabelValues(req.Class.String()),
	}
	r.figures.Pass(series.Arrived, req.Class, now)
	c.enter(Queued, now, "")
	r.mu.Lock()
	r.stream++
	c.stream = r.stream
	r.calls[c.stream] = c
	r.metrics.inFlight.Set(float64(len(r.calls)))
	stopped := r.stopped
	r.mu.Unlock()
	if req.Streaming {
		c.sent = resume.New(req.Resume, r.cfg.ContinueBytes)
	}
	r.bodies.put(c.stream, req.Body)
	r.deps.Receiver.Open(c.stream, c)
	if stopped {
		c.stop(errStopped)
	}
	return c
}

// forget takes a call out of the table.
func (r *Router) forget(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.calls, c.stream)
	r.metrics.inFlight.Set(float64(len(r.calls)))
	if len(r.calls) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}

func (r *Router) inFlight() []*call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := make([]*call, 0, len(r.calls))
	for _, c := range r.calls {
		calls = append(calls, c)
	}
	return calls
}

// gone tells every call that a worker died.
func (r *Router) gone(worker string) {
	for _, c := range r.inFlight() {
		c.gone(worker)
	}
}
