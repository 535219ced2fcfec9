package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	natsd.HoldClock()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

var quiet = slog.New(slog.DiscardHandler)

// fixture is one server and one bus on it.
type fixture struct {
	*testing.T
	server *natsd.Server
	bus    *bus.Bus
	reg    *prometheus.Registry
}

// inBubble runs test in a synctest bubble: all waits are virtual.
func inBubble(t *testing.T, change func(*bus.Config), test func(f *fixture)) {
	t.Helper()
	natsdtest.Bubble(t, func(t *testing.T) { onServer(t, change, test) })
}

// onServer is inBubble for tests in real time.
func onServer(t *testing.T, change func(*bus.Config), test func(f *fixture)) {
	t.Helper()
	s, err := natsd.Start(natsd.DefaultConfig(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	cfg := bus.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	b, err := bus.Connect(t.Context(), cfg, "test", s, reg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	test(&fixture{T: t, server: s, bus: b, reg: reg})
}

// js is a second connection that works behind the bus's back.
func (f *fixture) js() (js jetstream.JetStream, done func()) {
	f.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(f.server), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		f.Fatal(err)
	}
	js, err = jetstream.New(nc)
	if err != nil {
		f.Fatal(err)
	}
	return js, func() { nc.Close(); <-closed }
}

func job(model string, stream uint64) *wire.PrefillJob {
	body := []byte(`{"prompt":"x"}`)
	return &wire.PrefillJob{Body: body, Request: wire.Request{
		ID: fmt.Sprintf("r%d", stream), Frontend: "f1", Stream: stream, Attempt: 1, Model: model,
		Digest: wire.BodyDigest(body), BodySize: len(body),
	}}
}

func (f *fixture) publish(j *wire.PrefillJob) bus.Receipt {
	f.Helper()
	r, err := f.bus.Prefill().Publish(f.Context(), j)
	if err != nil {
		f.Fatal(err)
	}
	return r
}

func (f *fixture) fetch(b *bus.Bus, model string, n int, wait time.Duration) (out []*bus.Delivery[wire.PrefillJob]) {
	f.Helper()
	for d, err := range b.Prefill().Fetch(f.Context(), model, n, wait) {
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func (f *fixture) one(model string) *bus.Delivery[wire.PrefillJob] {
	f.Helper()
	got := f.fetch(f.bus, model, 1, time.Minute)
	if len(got) != 1 {
		f.Fatalf("fetched %d jobs of %s, want 1", len(got), model)
	}
	return got[0]
}

func (f *fixture) depth(want uint64) {
	f.Helper()
	d, err := f.bus.Prefill().Stats(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if d.Messages != want {
		f.Errorf("queue holds %d jobs, want %d", d.Messages, want)
	}
}
