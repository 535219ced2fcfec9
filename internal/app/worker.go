package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/baton-llm/baton/prefill"
	"github.com/prometheus/client_golang/prometheus"
)

// RunWorker runs one prefill or decode worker in front of worker.engine until ctx ends, then drains.
func RunWorker(ctx context.Context, cfg *Config, role wire.Role, logs io.Writer) error {
	if cfg.Worker.Engine == "" {
		return fmt.Errorf("worker.engine is empty: say which engine this %s worker fronts, such as --engine http://127.0.0.1:8100", role)
	}
	p, err := open(ctx, cfg, string(role), nil, logs)
	if err != nil {
		return err
	}
	defer p.close()
	infra := newLayer(ctx)
	if err := p.operators(ctx, infra, cfg.Worker.Metrics, "worker.metrics", workerRoutes(p.reg)); err != nil {
		return errors.Join(err, infra.stop())
	}
	bound, release := infra.bind(ctx)
	defer release()
	err = p.worker(bound, newID(role), role, cfg.Worker.Engine, nil)
	return errors.Join(err, infra.stop())
}

// stage is what the two kinds of worker have in common.
type stage interface {
	Run(ctx context.Context) error
	Load() wire.Load
}

// worker runs one worker named id until ctx ends and it has drained.
func (p *process) worker(ctx context.Context, id string, role wire.Role, url string, dial dialer) error {
	connector, err := kvtransfer.ByName(p.cfg.Worker.Connector)
	if err != nil {
		return err
	}
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"worker": id}, p.reg)
	log := p.log.With(slog.String("worker", id))
	client := engine.New(url, p.cfg.Engine, dial, reg, log)
	probe := newEngineProbe(client, p.cfg.Worker.Announce)
	sender := relay.NewSender(id, p.bus.Publish, p.cfg.Relay, p.reg, log)

	var work stage
	var handles func(sender string, c wire.Control)
	switch role {
	case wire.RolePrefill:
		w := p.prefillWorker(id, url, connector, client, probe, sender, reg)
		work, handles = w, w.Control
	case wire.RoleDecode:
		work, handles = p.decodeWorker(id, connector, client, probe, sender, reg), func(string, wire.Control) {}
	case wire.RoleFrontend:
		return errors.New("a frontend is no worker")
	}

	stop, err := p.bus.Subscribe(wire.ControlSubject(id), func(batch []byte) {
		err := wire.ReadControls(batch, func(from string, c wire.Control) {
			sender.Control(from, c)
			handles(from, c)
		})
		if err != nil {
			log.WarnContext(ctx, "control batch not read", slog.Any("error", err))
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to control messages: %w", err)
	}
	defer stop()

	announcer := fleet.NewAnnouncer(p.bus, p.cfg.Worker.Announce, func() wire.Announcement {
		models, ready := probe.state()
		return wire.Announcement{
			ID: id, Role: role, Version: telemetry.Version(), Started: p.begun, Interval: p.cfg.Worker.Announce,
			Ready: ready, Leaving: ctx.Err() != nil, Models: models, Engine: url, Load: work.Load(),
		}
	}, log)
	probe.changed = announcer.Now
	infra := newLayer(ctx)
	infra.run(sender.Run)
	infra.run(announcer.Run)
	infra.run(probe.Run)
	bound, release := infra.bind(ctx)
	defer release()
	select {
	case <-probe.first: // so that the first job is pulled at once, not after a round of waiting
	case <-bound.Done():
	}
	return errors.Join(work.Run(bound), infra.stop())
}

func (p *process) prefillWorker(id, url string, connector kvtransfer.Connector, client *engine.Client, probe *engineProbe, sender *relay.Sender, reg prometheus.Registerer) *prefill.Worker {
	return prefill.New(p.cfg.Prefill, id, prefill.Deps{
		Jobs: worker.FromQueue(p.bus.Prefill()),
		Next: func(ctx context.Context, job *wire.DecodeJob) error {
			_, err := p.bus.Decode().Publish(ctx, job)
			return err
		},
		QueueDepth: func(ctx context.Context) (int, error) {
			depth, err := p.bus.Decode().Stats(ctx)
			return int(depth.Messages), err
		},
		Frames: worker.FromSender(sender), Bodies: p.bus, Engine: client, EngineURL: url, Models: probe.models, Connector: connector,
		Ledger: kvtransfer.NewLedger(reg), Registerer: reg, Tracer: p.tracer, Log: p.log,
	})
}

func (p *process) decodeWorker(id string, connector kvtransfer.Connector, client *engine.Client, probe *engineProbe, sender *relay.Sender, reg prometheus.Registerer) *decode.Worker {
	return decode.New(p.cfg.Decode, id, decode.Deps{
		Jobs: worker.FromQueue(p.bus.Decode()), Frames: worker.FromSender(sender), Bodies: p.bus, Engine: decode.FromClient(client),
		Models: probe.models,
		Capacity: func(ctx context.Context) (int, error) {
			m, err := client.Metrics(ctx)
			return m.CapacityTokens, err
		},
		Connector: connector, Notify: sender.NotifyWorker, Registerer: reg, Tracer: p.tracer, Log: p.log,
	})
}

// dialer opens connections to engines; nil stands for the network.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// engineProbe asks an engine again and again whether it lives and what it serves.
type engineProbe struct {
	client *engine.Client
	every  time.Duration

	first   chan struct{} // closed when the engine has become ready for the first time
	changed func()        // called when the engine has become ready or unready; set before Run

	mu    sync.Mutex
	cards []wire.Model
	ready bool
}

func newEngineProbe(client *engine.Client, every time.Duration) *engineProbe {
	return &engineProbe{client: client, every: every, first: make(chan struct{})}
}

// Run probes until ctx ends. An engine that stops answering is not ready, but what it serves is
// not forgotten.
func (e *engineProbe) Run(ctx context.Context) error {
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	for {
		e.ask(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askTime bounds one probe; an engine on a busy machine may be slow to answer and yet live.
const askTime = 5 * time.Second

func (e *engineProbe) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cards, err := e.client.Models(ctx)
	ready := err == nil && len(cards) > 0
	e.mu.Lock()
	changed := ready != e.ready
	e.ready = ready
	if ready && e.cards == nil {
		close(e.first)
	}
	if ready {
		e.cards = cards
	}
	e.mu.Unlock()
	if changed {
		e.changed()
	}
}

func (e *engineProbe) state() (cards []wire.Model, ready bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cards, e.ready
}

// models is what the engine serves now; nothing while it does not answer, so that no job is pulled.
func (e *engineProbe) models() []string {
	cards, ready := e.state()
	if !ready {
		return nil
	}
	ids := make([]string, len(cards))
	for i, card := range cards {
		ids[i] = card.ID
	}
	return ids
}
