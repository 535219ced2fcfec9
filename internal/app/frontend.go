package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/baton-llm/baton/api"
	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/api/live"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/dispatch"
	"github.com/baton-llm/baton/router/series"
)

// RunFrontend serves clients on api.listen until ctx ends, then drains.
func RunFrontend(ctx context.Context, cfg *Config, logs io.Writer) error {
	if err := cfg.API.Auth.CheckOpen(cfg.API.Listen); err != nil {
		return err
	}
	p, err := open(ctx, cfg, string(wire.RoleFrontend), nil, logs)
	if err != nil {
		return err
	}
	defer p.close()
	ln, err := listen(ctx, cfg.API.Listen, "clients (api.listen)")
	if err != nil {
		return err
	}
	return p.frontend(ctx, ln, func() { p.log.InfoContext(ctx, "ready") })
}

// frontend serves clients on ln until ctx ends and the running requests have ended. It calls ready
// once, as soon as a model can be served.
func (p *process) frontend(ctx context.Context, ln net.Listener, ready func()) error {
	id := newID(p.cfg.NATS.Name, wire.RoleFrontend)
	log := p.log.With(slog.String("frontend", id))
	keys, operators, err := p.keys(log)
	if err != nil {
		_ = ln.Close()
		return err
	}
	workers := fleet.New(p.bus, p.cfg.Fleet, p.reg, log)
	workers.Watch(p.bus)
	receiver := relay.NewReceiver(id, p.bus.Publish, p.cfg.Relay, p.reg, log)
	route := router.New(p.cfg.Router, id, router.Deps{
		Queue: p.bus.Prefill(), Abandon: p.abandon, Bodies: p.bus, Fleet: workers, Receiver: receiver,
		Aim: series.Aim(p.cfg.Schedule.SLO), Registerer: p.reg, Tracer: p.tracer, Log: log,
	})
	dispatcher := dispatch.New(p.cfg.Dispatch, p.cfg.Schedule, id, dispatch.Deps{
		Queue: p.bus.Prefill(), Subscribe: p.bus.Subscribe, Publish: p.bus.Publish, Fleet: workers, Registerer: p.reg, Log: log,
	})
	picture := live.New(live.About{
		ID: id, Version: telemetry.Version(), Begun: p.begun, Policy: p.cfg.Schedule, MaxInFlight: p.cfg.Router.All.Requests,
	}, live.Deps{Router: route, Fleet: workers, Books: dispatcher.Books, Prefill: p.bus.Prefill(), Decode: p.bus.Decode()})
	server := api.New(p.cfg.API, api.Deps{
		Router: api.FromRouter(route), Fleet: workers, Metrics: metricsHandler(p.reg), Keys: keys, AdminKeys: operators, Live: picture,
		Registerer: p.reg, Tracer: p.tracer, Log: log, Version: telemetry.Version(),
	})
	announcer := fleet.NewAnnouncer(p.bus, p.cfg.Worker.Announce, func() wire.Announcement {
		return wire.Announcement{
			ID: id, Role: wire.RoleFrontend, Version: telemetry.Version(), Started: p.begun, Interval: p.cfg.Worker.Announce,
			Ready: len(workers.Missing()) == 0, Leaving: ctx.Err() != nil,
		}
	}, log)

	defer p.near.Add(receiver)()
	stopFrames, err := p.bus.SubscribeOwn(wire.FramesSubject(id), receiver.Batch)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("subscribe to frames: %w", err)
	}
	defer stopFrames()
	stopBodies, err := p.bus.Answer(wire.BodySubject(id), route.Body)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("answer requests for bodies: %w", err)
	}
	defer stopBodies()
	stopAsks, err := p.bus.Answer(wire.QueueSubject(id), route.Waiting)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("answer questions about the queue: %w", err)
	}
	defer stopAsks()
	stopRefusals, err := p.bus.Subscribe(wire.RefuseSubject(id), route.Refused)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("subscribe to refusals: %w", err)
	}
	defer stopRefusals()

	infra := newLayer(ctx)
	if p.admin != nil {
		p.operatorsOn(ctx, infra, p.admin, server.Admin())
	} else if err := p.operators(ctx, infra, p.cfg.API.AdminListen, "api.admin_listen", server.Admin()); err != nil {
		return errors.Join(err, infra.stop(), ln.Close())
	}
	infra.run(workers.Run)
	infra.run(dispatcher.Run)
	infra.run(announcer.Run)
	infra.run(route.Run)
	for _, ring := range []*auth.Keyring{keys, operators} {
		if ring != nil {
			infra.run(ring.Run)
		}
	}
	bound, release := infra.bind(ctx)
	defer release()
	watch := newLayer(bound)
	watch.run(func(context.Context) error { return whenReady(bound, workers, ready) })
	err = server.Serve(bound, ln)
	return errors.Join(err, watch.stop(), infra.stop())
}

// keys are the API keys that clients need, and those of operators; nil: none.
func (p *process) keys(log *slog.Logger) (clients, operators *auth.Keyring, err error) {
	if p.cfg.API.Auth.Configured() {
		if clients, err = auth.New(p.cfg.API.Auth, log); err != nil {
			return nil, nil, err
		}
	}
	if file := p.cfg.API.AdminKeysFile; file != "" {
		if operators, err = auth.New(auth.Config{KeysFile: file}, log); err != nil {
			return nil, nil, fmt.Errorf("keys of operators (api.admin_keys_file): %w", err)
		}
	}
	return clients, operators, nil
}

// abandon tells the dispatchers of a model which queued jobs nobody wants any more.
func (p *process) abandon(model string, keys []string) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return p.bus.Publish(wire.AbandonSubject(model), data)
}

// whenReady calls ready once nothing is missing, and returns when ctx ends.
func whenReady(ctx context.Context, workers *fleet.Fleet, ready func()) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(workers.Missing()) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ready()
	<-ctx.Done()
	return ctx.Err()
}
