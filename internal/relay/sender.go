package relay

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label "by" of baton_runs_cancelled_total.
const (
	byFrontend     = "frontend"
	byFrontendGone = "frontend_gone"
)

// Sender is a worker's half: it delivers the frames of all its runs. All methods are safe for
// concurrent use.
type Sender struct {
	worker  string
	cfg     Config
	log     *slog.Logger
	metrics senderMetrics
	out     *outbox // frames
	notes   *outbox // controls to other workers
	last    atomic.Uint64
	near    *Near // nil: no frontend is

	mu   sync.RWMutex // guards runs, never held while frames are handled
	runs map[uint64]*Run
}

// NewSender makes the Sender of the worker with this name; Run makes it work. publish is called
// from two goroutines.
func NewSender(worker string, publish Publish, cfg SenderConfig, reg prometheus.Registerer, log *slog.Logger) *Sender {
	s := &Sender{worker: worker, cfg: cfg, log: log, metrics: newSenderMetrics(reg), runs: map[uint64]*Run{}}
	s.out = newOutbox(publish, wire.AppendFrameHeader(nil, worker), &s.cfg, func(subject string, items int, err error) {
		s.metrics.perPublish.Observe(float64(items))
		s.published(subject, err)
	})
	s.notes = newOutbox(publish, wire.AppendControlHeader(nil, worker), &s.cfg, func(subject string, _ int, err error) {
		s.published(subject, err)
	})
	// Numbers from the clock, so that a worker that comes back under its old name does not use
	// the numbers of runs that frontends may still know.
	s.last.Store(uint64(time.Now().UnixMicro()))
	return s
}

// Beside has frames for the frontends that near knows go to them by a call, within Send. It is set before the first run.
func (s *Sender) Beside(near *Near) { s.near = near }

func (s *Sender) published(subject string, err error) {
	if err != nil {
		s.metrics.lost.Inc()
		s.log.Debug("publish of a batch failed", slog.String("subject", subject), slog.Any("error", err))
	}
}

// Run publishes and looks after all runs until ctx ends, then publishes what is buffered and
// returns. The contexts of its runs are not ended by that.
func (s *Sender) Run(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() { s.out.run(ctx) })
	g.Go(func() { s.notes.run(ctx) })

	tick := time.NewTicker(s.cfg.Probe / 4)
	defer tick.Stop()
	var runs []*Run
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		runs = s.snapshot(runs[:0])
		for _, r := range runs {
			if r.tick(now) {
				s.drop(r)
			}
		}
		clear(runs)
	}
}

func (s *Sender) snapshot(runs []*Run) []*Run {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.runs {
		runs = append(runs, r)
	}
	return runs
}

// Open starts a run that answers req, whose frames go to req.Frontend. The caller closes it.
func (s *Sender) Open(ctx context.Context, req *wire.Request) *Run {
	r := &Run{
		s: s, id: s.last.Add(1), request: wire.Request{Frontend: req.Frontend, Stream: req.Stream, Attempt: req.Attempt},
		subject: wire.FramesSubject(req.Frontend), space: make(chan struct{}, 1), near: s.near.find(req.Frontend),
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	s.mu.Lock()
	s.runs[r.id] = r
	s.mu.Unlock()
	return r
}

// Control takes one control message of the frontend named sender. Those of unknown runs but Ask, of
// another frontend's runs, and those about handles (the prefill worker's own) are ignored.
func (s *Sender) Control(sender string, c wire.Control) {
	switch c.Kind {
	case wire.Ack, wire.Resend, wire.Cancel, wire.Ask:
	case wire.HandleConsumed, wire.HandleReleased:
		return
	default:
		return
	}
	s.mu.RLock()
	r := s.runs[c.Run]
	s.mu.RUnlock()
	if r == nil && c.Kind == wire.Ask {
		s.out.add(wire.FramesSubject(sender), wire.AppendFrame(nil, &wire.Frame{Run: c.Run, Kind: wire.Unknown}), true) // if dropped, it is asked again
		return
	}
	if r == nil || r.request.Frontend != sender {
		return
	}
	if c.Kind == wire.Cancel {
		r.stop(ErrCancelled, byFrontend)
		s.drop(r)
		return
	}
	if r.ack(c, time.Now()) {
		s.drop(r)
	}
}

// NotifyWorker queues a control message to another worker; a decode worker reports the end of a
// handle with it. It is sent once, and lost if the publish is.
func (s *Sender) NotifyWorker(worker string, c wire.Control) {
	if !s.notes.add(wire.ControlSubject(worker), wire.AppendControl(nil, c), true) {
		s.metrics.lost.Inc()
	}
}

// drop forgets a run that is over and ends its context.
func (s *Sender) drop(r *Run) {
	s.forget(r)
	r.cancel(nil)
}

func (s *Sender) forget(r *Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, r.id)
}
