package fleet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxProcesses = 4096        // more are refused and counted
	maxModels    = 4096        // likewise
	maxInterval  = time.Minute // a process that announces more rarely is held to this

	// confirm is how long a silent process has for its answer to a hello, from when that was heard here: an interval
	// of most processes.
	confirm = time.Second
	// helloEvery is the time between two hellos to silent processes.
	helloEvery = time.Second
)

// Fleet is the picture of all live processes. Its methods are safe for concurrent use and never
// wait for the network.
type Fleet struct {
	t       Transport
	cfg     Config
	log     *slog.Logger
	metrics metrics
	wake    chan struct{} // 1 slot: lost has entries
	name    []byte        // in the hellos of this fleet
	server  Server        // nil: nobody is asked for
	silence []byte        // what is sent to ask for a worker: a batch of no controls
	asking  sync.WaitGroup

	mu        sync.Mutex
	processes map[string]*process
	models    map[string]*model
	lost      []string // gone, and OnGone not told yet
	departed  []Departed
	onGone    []func(worker string)
	news      bool // a process came, or is another in what it can do, and OnChange was not told yet
	onChange  []func()
	greeted   time.Time // when the last hello to silent processes was sent
}

type process struct {
	said    wire.Announcement
	spoke   time.Time // by our own clock: when it announced itself last
	expires time.Time // likewise: silent from then on
	heard   time.Time // when a hello to it, which it has not answered, came back here; zero: none has

	over    uint64    // number of the connection over which it was heard last
	settled bool      // the announcement before came over it, too
	asked   bool      // the server is being asked for it
	away    time.Time // since when the server has nobody at its subject, for sure; zero: it has not said so
}

type model struct {
	said wire.Model
	seen time.Time // when a ready worker served it last
}

// Status counts the workers of one model that take work.
type Status struct{ Prefill, Decode, Both int }

// New makes a Fleet that knows nobody; Run makes it listen.
func New(t Transport, cfg Config, reg prometheus.Registerer, log *slog.Logger) *Fleet {
	return &Fleet{
		t: t, cfg: cfg, log: log, metrics: newMetrics(reg), wake: make(chan struct{}, 1), name: []byte(rand.Text()),
		silence:   wire.AppendControlHeader(nil, "fleet"),
		processes: map[string]*process{}, models: map[string]*model{},
	}
}

// OnGone has f called with the name of each process that says it is gone, that is silent for too
// long, or that was replaced by a new one under its name. Calls come one at a time from Run's
// goroutine and should be short.
func (f *Fleet) OnGone(g func(worker string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onGone = append(f.onGone, g)
}

// OnChange has f called after a process has come, gone, or changed its role, readiness, models or
// capacity. Calls come one at a time from Run's goroutine and should be short.
func (f *Fleet) OnChange(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onChange = append(f.onChange, g)
}

// Run listens, says hello so that all announce themselves at once, and forgets the dead, until
// ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	stop, err := f.t.Subscribe(wire.AnnounceSubject, f.hear)
	if err != nil {
		return fmt.Errorf("listen for announcements: %w", err)
	}
	defer stop()
	deaf, err := f.t.Subscribe(wire.HelloSubject, f.echo)
	if err != nil {
		return fmt.Errorf("listen for hellos: %w", err)
	}
	defer deaf()
	defer f.asking.Wait()
	if err := f.hello(time.Now()); err != nil {
		f.log.WarnContext(ctx, "hello failed; the fleet is known after its next announcements", slog.Any("error", err))
	}
	tick := time.NewTicker(f.cfg.Check)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-tick.C:
			now := time.Now()
			if f.expire(ctx, now, now.Sub(last)-f.cfg.Check) {
				if err := f.hello(now); err != nil {
					f.log.DebugContext(ctx, "hello to silent processes failed", slog.Any("error", err))
				}
			}
			last = now
		}
		f.tell()
	}
}

// hello has all processes announce themselves.
func (f *Fleet) hello(now time.Time) error {
	return f.t.Publish(wire.HelloSubject, fmt.Appendf(nil, "%s %d", f.name, now.UnixNano()))
}

// echo takes a hello. One of our own tells that what is sent here arrives here, behind whatever was on its way: an
// announcement that had come before is known by now.
func (f *Fleet) echo(data []byte) {
	name, sent, _ := bytes.Cut(data, []byte(" "))
	var nanos int64
	if _, err := fmt.Sscan(string(sent), &nanos); err != nil || !bytes.Equal(name, f.name) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, p := range f.processes {
		if p.heard.IsZero() && nanos >= p.expires.UnixNano() {
			p.heard = now
		}
	}
}

// hear takes one announcement.
func (f *Fleet) hear(data []byte) {
	var a wire.Announcement
	if err := json.Unmarshal(data, &a); err != nil || a.ID == "" || a.Interval <= 0 {
		f.metrics.bad.Inc()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[a.ID]
	switch {
	case p != nil && a.Started.Before(p.said.Started), // of a process that was replaced since
		p == nil && !a.Gone && len(f.processes) >= maxProcesses:
		f.metrics.bad.Inc()
		return
	case a.Gone:
		if p != nil {
			f.lose(a.ID, Left)
		}
		f.count()
		return
	case p != nil && a.Started.After(p.said.Started):
		f.lose(a.ID, Replaced)
		p = nil
	}
	if p == nil {
		p = &process{}
		f.processes[a.ID] = p
	}
	now := time.Now()
	if differs(&p.said, &a) {
		f.stir()
	}
	p.said, p.spoke = a, now
	f.heardOver(p)
	p.expires, p.heard = now.Add(time.Duration(f.cfg.Missed)*min(a.Interval, maxInterval)), time.Time{}
	if a.Ready && a.Role != wire.RoleFrontend {
		for _, m := range a.Models {
			if f.models[m.ID] == nil && len(f.models) >= maxModels {
				f.metrics.bad.Inc()
				continue
			}
			f.models[m.ID] = &model{said: m, seen: now}
		}
	}
	f.count()
}

// lose forgets a process and has OnGone told. It needs the lock.
func (f *Fleet) lose(id string, why Why) {
	f.depart(f.processes[id], why)
	delete(f.processes, id)
	f.lost = append(f.lost, id)
	f.stir()
}

// stir has OnChange's functions called soon. It needs the lock.
func (f *Fleet) stir() {
	f.news = true
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// differs tells whether a process can do something else than before.
func differs(was, is *wire.Announcement) bool {
	return was.ID == "" || was.Role != is.Role || was.Ready != is.Ready || was.Leaving != is.Leaving ||
		was.Load.Capacity != is.Load.Capacity || was.Load.Slots != is.Load.Slots ||
		!slices.EqualFunc(was.Models, is.Models, func(a, b wire.Model) bool { return a.ID == b.ID })
}

// expire forgets who was silent for too long and did not answer a hello, which is asked for where greet is true. A
// hello must have come back here: who is cut off from the others, or far behind with what they say, knows nothing of
// them. late is how much later than planned this look is: if that is much, this process did not run meanwhile and
// could not have heard anybody, so everyone gets that time again.
func (f *Fleet) expire(ctx context.Context, now time.Time, late time.Duration) (greet bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, p := range f.processes {
		if late > f.cfg.Check {
			p.expires = p.expires.Add(late)
			if !p.heard.IsZero() {
				p.heard = p.heard.Add(late)
			}
		}
		if f.missed(p, now) {
			p.asked = true
			f.asking.Go(func() { f.ask(ctx, id, p) })
		}
		switch {
		case now.Before(p.expires):
		case p.heard.IsZero():
			greet = true
		case now.Sub(p.heard) >= confirm:
			f.log.WarnContext(ctx, "process is silent and counts as dead", slog.String("process", id), slog.String("role", string(p.said.Role)))
			f.lose(id, Silent)
		}
	}
	for id, m := range f.models {
		if now.Sub(m.seen) >= f.cfg.ModelGrace && f.status(id, true) == (Status{}) {
			delete(f.models, id)
		}
	}
	f.count()
	if greet = greet && now.Sub(f.greeted) >= helloEvery; greet {
		f.greeted = now
	}
	return greet
}

// tell calls OnGone's and OnChange's functions without the lock.
func (f *Fleet) tell() {
	f.mu.Lock()
	lost, told := f.lost, slices.Clone(f.onGone)
	var changed []func()
	if f.news {
		changed = slices.Clone(f.onChange)
	}
	f.lost, f.news = nil, false
	f.mu.Unlock()
	for _, g := range changed {
		g()
	}
	for _, id := range lost {
		for _, g := range told {
			g(id)
		}
	}
}

// count sets the gauge. It needs the lock.
func (f *Fleet) count() {
	for _, role := range []wire.Role{wire.RoleFrontend, wire.RolePrefill, wire.RoleDecode, wire.RoleBoth} {
		n := map[string]int{"ready": 0, "starting": 0, "leaving": 0, "held": 0}
		for _, p := range f.processes {
			if p.said.Role == role {
				n[State(&p.said)]++
			}
		}
		for state, v := range n {
			f.metrics.workers.WithLabelValues(string(role), state).Set(float64(v))
		}
	}
}

// Models returns the models that a ready worker serves or served within Config.ModelGrace, by id.
func (f *Fleet) Models() []wire.Model {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known()
}

func (f *Fleet) known() []wire.Model {
	out := make([]wire.Model, 0, len(f.models))
	for _, m := range f.models {
		out = append(out, m.said)
	}
	slices.SortFunc(out, func(a, b wire.Model) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Model tells who takes work for a model; false if no worker served it within Config.ModelGrace.
func (f *Fleet) Model(id string) (Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.models[id] == nil {
		return Status{}, false
	}
	return f.status(id, false), true
}

// status counts ready workers, with or without those that are leaving. It needs the lock.
func (f *Fleet) status(id string, leaving bool) Status {
	var s Status
	for _, p := range f.processes {
		if !p.said.Ready || p.said.Leaving && !leaving ||
			!slices.ContainsFunc(p.said.Models, func(m wire.Model) bool { return m.ID == id }) {
			continue
		}
		switch p.said.Role {
		case wire.RolePrefill:
			s.Prefill++
		case wire.RoleDecode:
			s.Decode++
		case wire.RoleBoth:
			s.Both++
		case wire.RoleFrontend:
		}
	}
	return s
}

// Missing says, for people, what keeps requests from being served; it is empty if every model
// that has a worker has one of each role, or one that is both. A model whose workers have all left is
// not missed while another is served.
func (f *Fleet) Missing() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	workers := 0
	for _, p := range f.processes {
		if p.said.Role != wire.RoleFrontend {
			workers++
		}
	}
	if workers == 0 {
		return []string{"no worker has announced itself"}
	}
	var partly, wholly []string
	complete := false
	for _, m := range f.known() {
		s := f.status(m.ID, false)
		var missing []string
		if s.Prefill+s.Both == 0 {
			missing = append(missing, "no prefill worker for model "+m.ID)
		}
		if s.Decode+s.Both == 0 {
			missing = append(missing, "no decode worker for model "+m.ID)
		}
		switch len(missing) {
		case 0:
			complete = true
		case 1:
			partly = append(partly, missing...)
		default:
			wholly = append(wholly, missing...)
		}
	}
	switch {
	case complete || len(partly) > 0:
		return partly
	case len(wholly) > 0:
		return wholly
	}
	return []string{"no worker's engine is ready"}
}

// Alive tells whether a process has announced itself lately and not said that it is gone.
func (f *Fleet) Alive(worker string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.processes[worker] != nil
}
