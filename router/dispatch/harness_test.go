package dispatch_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/dispatch"
	"github.com/baton-llm/baton/router/schedule"
)

func TestMain(m *testing.M) {
	natsd.HoldClock()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

const (
	model  = "m"
	client = "f1" // the frontend that all jobs are of
)

var quiet = slog.New(slog.DiscardHandler)

// fleet is what a frontend knows of the others; the test changes it.
type fleet struct {
	mu      sync.Mutex
	workers map[string]wire.Announcement
	gone    []func(string)
	changed []func()
}

func (f *fleet) Models() []wire.Model { return []wire.Model{{ID: model}} }

func (f *fleet) Workers() (out []wire.Announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.workers {
		out = append(out, a)
	}
	return out
}

func (f *fleet) OnGone(g func(string)) { f.gone = append(f.gone, g) }
func (f *fleet) OnChange(g func())     { f.changed = append(f.changed, g) }

func (f *fleet) set(id string) {
	a := wire.Announcement{ID: id, Role: wire.RoleBoth, Ready: true, Models: f.Models(), Load: wire.Load{Capacity: 1 << 20, Slots: 1024}}
	if id == client {
		a = wire.Announcement{ID: id, Role: wire.RoleFrontend, Ready: true}
	}
	f.announce(a)
}

func (f *fleet) announce(a wire.Announcement) {
	f.mu.Lock()
	f.workers[a.ID] = a
	f.mu.Unlock()
	for _, g := range f.changed {
		g()
	}
}

func (f *fleet) lose(id string) {
	f.mu.Lock()
	delete(f.workers, id)
	f.mu.Unlock()
	for _, g := range f.gone {
		g(id)
	}
}

// site is one NATS server, and what the tests run around it.
type site struct {
	*testing.T
	server *natsd.Server
	stops  []func()
}

func inBubble(t *testing.T, test func(s *site)) {
	t.Helper()
	natsdtest.Bubble(t, func(t *testing.T) {
		server, err := natsd.Start(natsd.DefaultConfig(), quiet)
		if err != nil {
			t.Fatal(err)
		}
		s := &site{T: t, server: server}
		defer func() {
			for _, stop := range slices.Backward(s.stops) {
				stop()
			}
			if err := server.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(s)
	})
}

const ackWait = 5 * time.Second

func (s *site) bus(name string) *bus.Bus {
	s.Helper()
	b, _ := s.connect(name, ackWait)
	return b
}

// connect also returns what ends the connection, and with it the word that the process's jobs are in
// good hands.
func (s *site) connect(name string, ackWait time.Duration) (b *bus.Bus, end func()) {
	s.Helper()
	cfg := bus.DefaultConfig()
	cfg.Prefill.AckWait = ackWait
	b, err := bus.Connect(s.Context(), cfg, name, s.server, prometheus.NewRegistry(), quiet)
	if err != nil {
		s.Fatal(err)
	}
	end = sync.OnceFunc(b.Close)
	s.stops = append(s.stops, end)
	return b, end
}

// frontend is one process with a dispatcher. kill ends it without a word to the others, leave as it
// should.
type frontend struct {
	fleet       *fleet
	reg         *prometheus.Registry
	kill, leave func()
	cut         func() // ends only the connection
}

// held is how many jobs the frontend says that it holds.
func (f *frontend) held(t testing.TB) int {
	t.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "baton_dispatch_held_jobs" {
			return int(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	t.Fatal("the dispatcher does not say how many jobs it holds")
	return 0
}

func (s *site) frontend(name string, law schedule.Config, workers ...string) *frontend {
	s.Helper()
	b, end := s.connect(name, ackWait)
	f := &fleet{workers: map[string]wire.Announcement{}}
	f.set(client)
	reg := prometheus.NewRegistry()
	d := dispatch.New(dispatch.DefaultConfig(), law, name, dispatch.Deps{
		Queue: b.Prefill(), Subscribe: b.Subscribe, Publish: b.Publish, Fleet: f, Registerer: reg, Log: quiet,
	})
	for _, w := range workers {
		f.set(w)
	}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	leave := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("Run = %v", err)
		}
	})
	kill := func() {
		end()
		leave()
	}
	s.stops = append(s.stops, kill)
	return &frontend{fleet: f, reg: reg, kill: kill, leave: leave, cut: end}
}

// worker takes what is assigned to it, does each job in a time of its own and reports.
type worker struct {
	name string
	b    *bus.Bus
	mu   sync.Mutex
	got  []string // request ids in order of arrival
}

func (s *site) worker(name string, work func(w *worker, d *dispatch.Delivery)) *worker {
	s.Helper()
	w := &worker{name: name, b: s.bus(name)}
	stop, err := w.b.Prefill().Receive(wire.AssignSubject(name), func(d *dispatch.Delivery) {
		w.mu.Lock()
		w.got = append(w.got, d.Job.ID)
		w.mu.Unlock()
		go work(w, d)
	})
	if err != nil {
		s.Fatal(err)
	}
	s.stops = append(s.stops, stop)
	return w
}

func (w *worker) jobs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *worker) report(t *testing.T, d *dispatch.Delivery, stage wire.Stage) {
	said := wire.Report{Worker: w.name, Jobs: []wire.JobReport{{Key: d.Job.MsgID(), Stage: stage, Tokens: d.Job.PromptTokens, KV: d.Job.PromptTokens + d.Job.MaxTokens}}}
	if err := w.b.Publish(wire.ReportSubject, said.Append(nil)); err != nil {
		t.Error(err)
	}
}

// serve does a job wholly: a second to the first token, and one more to the last.
func serve(t *testing.T) func(*worker, *dispatch.Delivery) {
	return func(w *worker, d *dispatch.Delivery) {
		w.report(t, d, wire.StagePrefilling)
		time.Sleep(time.Second)
		w.report(t, d, wire.StageDecoding)
		time.Sleep(time.Second)
		w.report(t, d, wire.StageEnded)
		if err := d.Done(context.Background()); err != nil {
			t.Errorf("%s: Done = %v", w.name, err)
		}
	}
}

func request(i int, class wire.Class) *wire.PrefillJob {
	return &wire.PrefillJob{Request: wire.Request{
		ID: fmt.Sprintf("r%03d", i), Frontend: client, Stream: uint64(i), Attempt: 1, Model: model, Class: class,
		PromptTokens: 8192, MaxTokens: 100, Admitted: time.Now(),
	}}
}

func (s *site) publish(b *bus.Bus, jobs ...*wire.PrefillJob) (seqs []uint64) {
	s.Helper()
	for _, j := range jobs {
		r, err := b.Prefill().Publish(s.Context(), j)
		if err != nil {
			s.Fatal(err)
		}
		seqs = append(seqs, r.Seq)
	}
	return seqs
}

func (s *site) empty(b *bus.Bus) {
	s.Helper()
	if depth, err := b.Prefill().Stats(s.Context()); err != nil || depth.Messages != 0 {
		s.Errorf("%d jobs are left in the queue (%v)", depth.Messages, err)
	}
}

func aggregated() schedule.Config {
	law := schedule.DefaultConfig()
	law.Mode = schedule.Aggregated
	return law
}
