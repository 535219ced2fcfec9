package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/dispatch"
)

// turnstile is, in real time, a dispatcher on a server of its own and a worker that takes one request at a time, or the
// law, which learns how long prompts take, would send the next one before a report makes room for it.
type turnstile struct {
	*testing.B
	front, back *bus.Bus
	frontend    *frontend
	jobs        chan *dispatch.Delivery
	published   int
}

// newTurnstile makes one whose worker is not there yet.
func newTurnstile(b *testing.B) *turnstile {
	server, err := natsd.Start(natsd.DefaultConfig(), quiet)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	connect := func(name string) *bus.Bus {
		cfg := bus.DefaultConfig()
		cfg.Prefill.MaxMsgs *= 2 // room behind the deepest queue
		conn, err := bus.Connect(b.Context(), cfg, name, server, prometheus.NewRegistry(), quiet)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(conn.Close)
		return conn
	}
	t := &turnstile{
		B: b, front: connect("frontend"), back: connect("worker"), jobs: make(chan *dispatch.Delivery, 16),
		frontend: &frontend{fleet: &fleet{workers: map[string]wire.Announcement{}}, reg: prometheus.NewRegistry()},
	}
	t.frontend.fleet.set(client)
	d := dispatch.New(dispatch.DefaultConfig(), aggregated(), "f1", dispatch.Deps{
		Queue: t.front.Prefill(), Subscribe: t.front.Subscribe, Publish: t.front.Publish, Fleet: t.frontend.fleet, Registerer: t.frontend.reg, Log: quiet,
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	stop, err := t.back.Prefill().Receive(wire.AssignSubject("w1"), func(d *dispatch.Delivery) { t.jobs <- d })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return t
}

// publish queues n jobs.
func (t *turnstile) publish(n int) {
	var g errgroup.Group
	g.SetLimit(16)
	for range n {
		job := request(t.published, wire.Standard)
		t.published++
		g.Go(func() error {
			_, err := t.front.Prefill().Publish(t.Context(), job)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// open lets the worker come.
func (t *turnstile) open() {
	f := t.frontend.fleet
	f.announce(wire.Announcement{ID: "w1", Role: wire.RoleBoth, Ready: true, Models: f.Models(), Load: wire.Load{Slots: 1}})
}

// next is the next job that the worker gets.
func (t *turnstile) next() *dispatch.Delivery {
	select {
	case d := <-t.jobs:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("no job comes")
		return nil
	}
}

func (t *turnstile) report(d *dispatch.Delivery, stage wire.Stage) {
	said := wire.Report{Worker: "w1", Jobs: []wire.JobReport{{Key: d.Job.MsgID(), Stage: stage, Tokens: d.Job.PromptTokens, KV: d.Job.PromptTokens}}}
	if err := t.back.Publish(wire.ReportSubject, said.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

// turn ends a job and returns the next one, how long that took to come, and has another queued for it.
func (t *turnstile) turn(running *dispatch.Delivery) (following *dispatch.Delivery, gap time.Duration) {
	t.report(running, wire.StageDecoding)
	begun := time.Now()
	t.report(running, wire.StageEnded)
	following = t.next()
	gap = time.Since(begun)
	if err := running.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.publish(1)
	return following, gap
}

// BenchmarkReportToNextJob measures from a worker's report that makes room to its next job: report, decision,
// forwarding.
func BenchmarkReportToNextJob(b *testing.B) {
	t := newTurnstile(b)
	t.publish(32)
	t.open()
	var gaps []time.Duration
	running := t.next()
	for b.Loop() {
		var gap time.Duration
		running, gap = t.turn(running)
		gaps = append(gaps, gap)
	}
	slices.Sort(gaps)
	b.ReportMetric(float64(gaps[len(gaps)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(gaps[len(gaps)*99/100].Microseconds()), "µs-p99")
}
