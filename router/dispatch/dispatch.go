// Package dispatch carries the scheduling law out: it takes the queued jobs of each model, has
// schedule decide, and forwards each job to its worker. Every frontend runs a Dispatcher; the server
// gives the jobs of a model to one of them at a time, and the others keep the same books from the
// workers' reports, so that any of them can go on. It owns no decision.
package dispatch

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// Delivery is one queued job in this process's hands; see bus.Delivery.
type Delivery = bus.Delivery[wire.PrefillJob]

// Queue is where the jobs wait; *bus.Queue is one.
type Queue interface {
	Fetch(ctx context.Context, model string, n int, wait time.Duration) iter.Seq2[*Delivery, error]
	Hold(ctx context.Context, model string) error
}

// Fleet knows the workers; *fleet.Fleet is one.
type Fleet interface {
	Models() []wire.Model
	Workers() []wire.Announcement
	OnGone(func(process string))
	OnChange(func())
}

// Deps is what a Dispatcher works with.
type Deps struct {
	Queue      Queue
	Subscribe  func(subject string, handle func(data []byte)) (stop func(), err error)
	Publish    func(subject string, data []byte) error
	Fleet      Fleet
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Dispatcher runs one lane for each model that the fleet serves. Its methods are safe for concurrent
// use.
type Dispatcher struct {
	cfg     Config
	law     schedule.Config
	name    string
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	changed chan struct{} // 1 slot: the fleet is another

	mu    sync.Mutex
	lanes map[string]*lane // by model
}

// New makes the dispatcher of the frontend called name; Run makes it work. It is to be called before
// the fleet runs.
func New(cfg Config, law schedule.Config, name string, deps Deps) *Dispatcher {
	d := &Dispatcher{
		cfg: cfg, law: law, name: name, deps: deps, log: deps.Log, metrics: newMetrics(deps.Registerer),
		changed: make(chan struct{}, 1), lanes: map[string]*lane{},
	}
	deps.Registerer.MustRegister(books(d.Books))
	deps.Fleet.OnChange(func() {
		notify(d.changed)
		d.each(func(l *lane) { notify(l.changed) })
	})
	deps.Fleet.OnGone(func(process string) { d.each(func(l *lane) { l.lose(process) }) })
	return d
}

// notify leaves an element in a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (d *Dispatcher) each(f func(*lane)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lanes {
		f(l)
	}
}

// Books returns the latest books of each model; nobody changes them.
func (d *Dispatcher) Books() map[string]*schedule.Snapshot {
	all := map[string]*schedule.Snapshot{}
	d.each(func(l *lane) {
		if s := l.seen.Load(); s != nil {
			all[l.model] = s
		}
	})
	return all
}

// Run dispatches until ctx ends. Jobs that it holds then come again to another frontend.
func (d *Dispatcher) Run(ctx context.Context) error {
	stop, err := d.deps.Subscribe(wire.ReportSubject, d.hear)
	if err != nil {
		return err
	}
	defer stop()
	var g sync.WaitGroup
	defer g.Wait()
	tick := time.NewTicker(d.cfg.Refresh)
	defer tick.Stop()
	for {
		for _, m := range d.deps.Fleet.Models() {
			d.open(ctx, m.ID, &g)
		}
		select {
		case <-d.changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// open starts the lane of a model unless there is one. A lane stays: its model may come back, and
// jobs for it may be queued.
func (d *Dispatcher) open(ctx context.Context, model string, g *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lanes[model] != nil {
		return
	}
	l := newLane(d, model)
	d.lanes[model] = l
	g.Go(func() { l.run(ctx) })
}

// hear takes one report. A lane that lags behind loses it and is mended by the next full one.
func (d *Dispatcher) hear(data []byte) {
	r, err := wire.ReadReport(data)
	if err != nil || r.Worker == "" {
		d.metrics.lost.Inc()
		return
	}
	d.each(func(l *lane) {
		select {
		case l.reports <- &r:
		default:
			d.metrics.lost.Inc()
		}
	})
}
