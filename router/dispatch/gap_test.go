package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/dispatch"
)

// BenchmarkReportToNextJob measures, in real time, from a worker's report that makes room to its next
// job: report, decision, forwarding. The worker takes one request at a time, or the law, which learns how
// long prompts take, would send the next one before the report.
func BenchmarkReportToNextJob(b *testing.B) {
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
		conn, err := bus.Connect(b.Context(), bus.DefaultConfig(), name, server, prometheus.NewRegistry(), quiet)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(conn.Close)
		return conn
	}
	front, back := connect("frontend"), connect("worker")
	known := &fleet{workers: map[string]wire.Announcement{}}
	known.set(client)
	d := dispatch.New(dispatch.DefaultConfig(), aggregated(), "f1", dispatch.Deps{
		Queue: front.Prefill(), Subscribe: front.Subscribe, Publish: front.Publish, Fleet: known, Registerer: prometheus.NewRegistry(), Log: quiet,
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

	jobs := make(chan *dispatch.Delivery, 16)
	stop, err := back.Prefill().Receive(wire.AssignSubject("w1"), func(d *dispatch.Delivery) { jobs <- d })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	const ahead = 32
	published := 0
	publish := func() {
		if _, err := front.Prefill().Publish(b.Context(), request(published, wire.Standard)); err != nil {
			b.Fatal(err)
		}
		published++
	}
	for range ahead {
		publish()
	}
	known.announce(wire.Announcement{ID: "w1", Role: wire.RoleBoth, Ready: true, Models: known.Models(), Load: wire.Load{Slots: 1}})
	next := func() *dispatch.Delivery {
		select {
		case d := <-jobs:
			return d
		case <-time.After(10 * time.Second):
			b.Fatal("no job comes")
			return nil
		}
	}
	report := func(d *dispatch.Delivery, stage wire.Stage) {
		said := wire.Report{Worker: "w1", Jobs: []wire.JobReport{{Key: d.Job.MsgID(), Stage: stage, Tokens: d.Job.PromptTokens, KV: d.Job.PromptTokens}}}
		if err := back.Publish(wire.ReportSubject, said.Append(nil)); err != nil {
			b.Fatal(err)
		}
	}
	var gaps []time.Duration
	running := next()
	for b.Loop() {
		report(running, wire.StageDecoding)
		begun := time.Now()
		report(running, wire.StageEnded)
		following := next()
		gaps = append(gaps, time.Since(begun))
		if err := running.Done(b.Context()); err != nil {
			b.Fatal(err)
		}
		running = following
		publish()
	}
	slices.Sort(gaps)
	b.ReportMetric(float64(gaps[len(gaps)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(gaps[len(gaps)*99/100].Microseconds()), "µs-p99")
}
