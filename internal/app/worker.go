package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/prometheus/client_golang/prometheus"
)

// RunWorker runs one worker in front of worker.engine until ctx ends, then drains.
func RunWorker(ctx context.Context, cfg *Config, role wire.Role, logs io.Writer) error {
	if cfg.Worker.Engine == "" {
		return fmt.Errorf("worker.engine is empty: say which engine this %s worker fronts, such as --engine http://127.0.0.1:8100", role)
	}
	p, err := open(ctx, cfg, string(role), nil, logs)
	if err != nil {
		return err
	}
	defer p.close()
	p.single = true
	infra := newLayer(ctx)
	if err := p.operators(ctx, infra, cfg.Worker.Metrics, "worker.metrics", workerRoutes(p.reg)); err != nil {
		return errors.Join(err, infra.stop())
	}
	bound, release := infra.bind(ctx)
	defer release()
	err = p.worker(bound, newID(cfg.NATS.Name, role), role, cfg.Worker.Engine, nil, checkEngine)
	return errors.Join(err, infra.stop())
}

// worker runs one worker named id until ctx ends and it has drained. Before it takes its first job, check
// (nil: none) looks at the engine.
func (p *process) worker(ctx context.Context, id string, role wire.Role, url string, dial dialer, check engineCheck) error {
	connector, err := kvtransfer.ByName(p.cfg.Worker.Connector)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"worker": id}, p.reg)
	log := p.log.With(slog.String("worker", id))
	client := engine.New(url, p.cfg.Engine, dial, reg, log)
	client.Trace(p.tracer)
	probe := newEngineProbe(client, p.cfg.Worker.Announce)
	if check != nil {
		probe.check = func(ctx context.Context, model string) error {
			return check(ctx, &checked{client: client, url: url, role: role, model: model, connector: connector, lease: p.cfg.Prefill.Lease, log: log})
		}
	}
	sender := relay.NewSender(id, p.bus.Publish, p.cfg.Relay, p.reg, log)
	sender.Beside(&p.near)

	parts := p.stages(id, url, role, connector, client, sender, reg, log)
	if parts == nil {
		return fmt.Errorf("role %s is no worker's", role)
	}
	acts := newActing(role, log)
	if p.single {
		acts.leave = leave
	}

	stop, err := p.bus.SubscribeOwn(wire.ControlSubject(id), func(batch []byte) {
		err := wire.ReadControls(batch, func(from string, c wire.Control) {
			sender.Control(from, c)
			parts.control(from, c)
		})
		if err != nil {
			log.WarnContext(ctx, "control batch not read", slog.Any("error", err))
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to control messages: %w", err)
	}
	defer stop()
	forget, err := p.bus.Prefill().Receive(wire.AssignSubject(id), func(d *bus.Delivery[wire.PrefillJob]) { parts.assigned.Put(worker.Deliver(d)) })
	if err != nil {
		return fmt.Errorf("subscribe to assigned jobs: %w", err)
	}
	defer forget()
	quiet, err := p.bus.Subscribe(wire.HelloSubject, func([]byte) { parts.reporter.All() })
	if err != nil {
		return fmt.Errorf("subscribe to hellos: %w", err)
	}
	defer quiet()

	announcer := fleet.NewAnnouncer(p.bus, p.cfg.Worker.Announce, func() wire.Announcement {
		models, why := probe.state()
		leaving, held := ctx.Err() != nil, acts.holds()
		return wire.Announcement{
			ID: id, Role: acts.role(), Able: acts.able, Version: telemetry.Version(), Started: p.begun, Interval: p.cfg.Worker.Announce,
			Ready: why == "", Why: why, Leaving: leaving || held, Held: held && !leaving, Models: models, Engine: url, Load: parts.load(),
		}
	}, log)
	probe.changed, acts.changed = announcer.Now, announcer.Now
	client.OnDown(probe.doubt)
	deaf, err := p.bus.Answer(wire.RoleSubject(id), acts.take)
	if err != nil {
		return fmt.Errorf("answer requests for another role: %w", err)
	}
	defer deaf()
	still, err := p.bus.Answer(wire.DrainSubject(id), acts.drain)
	if err != nil {
		return fmt.Errorf("answer requests to drain: %w", err)
	}
	defer still()
	told := context.AfterFunc(ctx, announcer.Now) // that it is leaving: dispatchers shall send nothing more
	defer told()
	infra := newLayer(ctx)
	infra.run(sender.Run)
	infra.run(parts.reporter.Run)
	infra.run(announcer.Run)
	infra.run(probe.Run)
	bound, release := infra.bind(ctx)
	defer release()
	return errors.Join(parts.run(bound), infra.stop())
}

// dialer opens connections to engines; nil stands for the network.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)
