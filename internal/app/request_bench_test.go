package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/baton-llm/baton/prefill"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/dispatch"
	"github.com/baton-llm/baton/router/schedule"
)

// instant is an engine that answers at once: what remains is baton's.
type instant struct{}

func (instant) Post(context.Context, engine.Call) ([]byte, error) {
	return []byte(`{"id":"x","usage":{"prompt_tokens":50},"kv_transfer_params":{"do_remote_prefill":true,"remote_host":"10.0.0.1","remote_block_ids":[1,2,3]}}`), nil
}
func (instant) Done(_, answered time.Time) time.Time { return answered }
func (instant) Stream(context.Context, engine.Call) (decode.Stream, error) {
	return &events{left: 2}, nil
}
func (instant) Silence(_, _, _ time.Time) (longest, within time.Duration) { return 0, 0 }

type events struct{ left int }

func (e *events) Next() (sse.Event, error) {
	switch e.left--; {
	case e.left > 0:
		return sse.Event{Data: []byte(`{"id":"x","choices":[{"index":0,"text":"a"}],"usage":{"prompt_tokens":50,"completion_tokens":1}}`)}, nil
	case e.left == 0:
		return sse.Event{Data: []byte("[DONE]")}, nil
	default:
		return sse.Event{}, io.EOF
	}
}

func (e *events) More() bool   { return e.left > 0 }
func (e *events) Close() error { return nil }

// BenchmarkRequest is what one request costs on its way through the queues and the stages of one process, with engines
// that take no time: 32 are under way at once.
func BenchmarkRequest(b *testing.B) {
	log, reg, tracer := slog.New(slog.DiscardHandler), prometheus.NewRegistry(), noop.NewTracerProvider().Tracer("")
	server, err := natsd.Start(natsd.DefaultConfig(), log)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Stop(context.Background()) }()
	nats, err := bus.Connect(b.Context(), bus.DefaultConfig(), "up", server, reg, log)
	if err != nil {
		b.Fatal(err)
	}
	defer nats.Close()
	cfg, all := DefaultConfig(), newLayer(b.Context())
	cfg.Schedule.Mode, cfg.Schedule.ShortPrompt, cfg.Schedule.PrefillWindow, cfg.Prefill.BatchTokens = schedule.Split, 0, 1<<20, 1<<20 // every request goes all the way
	defer func() { _ = all.stop() }()

	known := fleet.New(nats, cfg.Fleet, reg, log)
	receiver := relay.NewReceiver("f-1", nats.Publish, cfg.Relay, reg, log)
	route := router.New(cfg.Router, "f-1", router.Deps{
		Queue: nats.Prefill(), Abandon: func(string, []string) error { return nil }, Bodies: nats, Fleet: known, Receiver: receiver,
		Registerer: reg, Tracer: tracer, Log: log,
	})
	dispatcher := dispatch.New(cfg.Dispatch, cfg.Schedule, "f-1", dispatch.Deps{
		Queue: nats.Prefill(), Subscribe: nats.Subscribe, Publish: nats.Publish, Fleet: known, Registerer: reg, Log: log,
	})
	if _, err := nats.SubscribeOwn(wire.FramesSubject("f-1"), receiver.Batch); err != nil {
		b.Fatal(err)
	}
	all.run(known.Run)
	all.run(dispatcher.Run)
	all.run(route.Run)
	announce := func(a wire.Announcement) {
		all.run(fleet.NewAnnouncer(nats, time.Second, func() wire.Announcement { a.Ready = true; return a }, log).Run)
	}
	announce(wire.Announcement{ID: "f-1", Role: wire.RoleFrontend})
	for _, role := range []wire.Role{wire.RolePrefill, wire.RoleDecode} {
		id := string(role) + "-1"
		reg := prometheus.WrapRegistererWith(prometheus.Labels{"worker": id}, reg)
		sender := relay.NewSender(id, nats.Publish, cfg.Relay, reg, log)
		assigned, reporter := worker.NewAssignments(role == wire.RolePrefill, log), worker.NewReporter(id, time.Now(), time.Second, nats.Publish, log)
		s := &stages{assigned: assigned, reporter: reporter}
		jobs := []worker.Source[wire.DecodeJob]{assigned.Whole}
		if role == wire.RolePrefill {
			s.prefill = prefill.New(cfg.Prefill, id, prefill.Deps{
				Jobs: assigned.Split, Next: nats.Decode(), Reporter: reporter, Frames: worker.FromSender(sender), Bodies: nats, Engine: instant{},
				Connector: kvtransfer.NIXL{}, Ledger: kvtransfer.NewLedger(reg), Registerer: reg, Tracer: tracer, Log: log,
			})
		} else {
			jobs = append(jobs, worker.FromQueue(worker.FromBus(nats.Decode()), id, log))
		}
		s.decode = decode.New(cfg.Decode, id, decode.Deps{
			Jobs: jobs, Reporter: reporter, Frames: worker.FromSender(sender), Bodies: nats, Engine: instant{},
			Capacity: func(context.Context) (int, error) { return 1 << 30, nil }, Connector: kvtransfer.NIXL{},
			Notify: sender.NotifyWorker, Registerer: reg, Tracer: tracer, Log: log,
		})
		if _, err := nats.SubscribeOwn(wire.ControlSubject(id), func(batch []byte) {
			_ = wire.ReadControls(batch, func(from string, c wire.Control) { sender.Control(from, c); s.control(from, c) })
		}); err != nil {
			b.Fatal(err)
		}
		if _, err := nats.Prefill().Receive(wire.AssignSubject(id), func(d *bus.Delivery[wire.PrefillJob]) { assigned.Put(worker.Deliver(d)) }); err != nil {
			b.Fatal(err)
		}
		all.run(sender.Run)
		all.run(reporter.Run)
		all.run(s.run)
		announce(wire.Announcement{ID: id, Role: role, Models: []wire.Model{{ID: "m"}}, Load: wire.Load{Capacity: 1 << 30, Slots: 256}})
	}
	for len(known.Missing()) > 0 {
		time.Sleep(time.Millisecond)
	}

	body := fmt.Appendf(nil, `{"model":"m","stream":true,"max_tokens":1,"prompt":"%s"}`, bytes.Repeat([]byte("x "), 1000))
	request := func(n int) error {
		a, err := route.Do(b.Context(), &router.Request{
			ID: fmt.Sprintf("request-%d", n), Path: "/v1/completions", Model: "m", Class: wire.Standard, Streaming: true, Body: body, PromptTokens: 2000, MaxTokens: 1,
		})
		if err != nil {
			return err
		}
		defer a.Close()
		for {
			if _, err := a.Next(b.Context()); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	if err := request(0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(32 / 2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if err := request(n); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
