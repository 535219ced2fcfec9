package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// stopTime bounds the end of the embedded NATS server.
const stopTime = 2 * time.Second

// RunUp runs a whole deployment in this process until ctx ends: an embedded NATS server, one
// simulated engine for each worker, the workers, and a frontend. It tells people on screen what
// runs where.
func RunUp(ctx context.Context, cfg *Config, screen, logs io.Writer) error {
	if err := cfg.API.Auth.CheckOpen(cfg.API.Listen); err != nil {
		return err
	}
	d, err := newDeployment(ctx, cfg, logs)
	if err != nil {
		return err
	}
	defer d.close()
	ln, err := listen(ctx, cfg.API.Listen, "clients (api.listen)")
	if err != nil {
		return err
	}
	return d.run(ctx, ln, func() { printScreen(screen, cfg, ln.Addr(), d) })
}

// deployment is everything that `baton up` runs.
type deployment struct {
	nats    *natsd.Server
	proc    *process
	network network
	engines []*simulated
}

// network is where engines listen; tests put one in memory in its place.
type network struct {
	listen func(network, addr string) (net.Listener, error)
	dial   dialer
}

// simulated is one engine and the worker in front of it.
type simulated struct {
	role   wire.Role
	worker string
	engine *enginesim.Engine
	ln     net.Listener
}

func (s *simulated) url() string { return "http://" + s.ln.Addr().String() }

func newDeployment(ctx context.Context, cfg *Config, logs io.Writer) (*deployment, error) {
	return newDeploymentOn(ctx, cfg, logs, network{listen: net.Listen})
}

func newDeploymentOn(ctx context.Context, cfg *Config, logs io.Writer, on network) (_ *deployment, err error) {
	d := &deployment{network: on}
	own := *cfg
	own.API.DrainTimeout, own.Prefill.DrainTimeout, own.Decode.DrainTimeout = cfg.Up.Drain, cfg.Up.Drain, cfg.Up.Drain
	cfg = &own
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.nats, err = natsd.Start(cfg.Embedded, telemetry.Logger(cfg.Log, logs)); err != nil {
		return nil, err
	}
	if d.proc, err = open(ctx, cfg, "up", d.nats, logs); err != nil {
		return nil, err
	}
	for role, n := range map[wire.Role]int{wire.RolePrefill: cfg.Up.Prefill, wire.RoleDecode: cfg.Up.Decode, wire.RoleBoth: cfg.Up.Both} {
		for range n {
			if err := d.addEngine(cfg.Up.engine(cfg.Sim, role), role); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// engine is the configuration of a simulated engine with the batches of its role.
func (u *Up) engine(cfg enginesim.Config, role wire.Role) enginesim.Config {
	cfg.Role = string(role)
	switch role {
	case wire.RolePrefill:
		cfg.MaxBatchTokens = cmp.Or(u.PrefillBatch, cfg.MaxBatchTokens)
	case wire.RoleDecode:
		cfg.MaxBatchTokens = cmp.Or(u.DecodeBatch, cfg.MaxBatchTokens)
		cfg.LongPrefillThreshold = cmp.Or(u.DecodeChunk, cfg.LongPrefillThreshold)
		cfg.Faults.Slow = cmp.Or(u.DecodeSlow, cfg.Faults.Slow)
	case wire.RoleBoth, wire.RoleFrontend:
	}
	return cfg
}

func (d *deployment) addEngine(cfg enginesim.Config, role wire.Role) error {
	ln, err := d.network.listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for a simulated engine: %w", err)
	}
	s := &simulated{role: role, worker: newID(role), ln: ln}
	d.engines = append(d.engines, s)
	s.engine, err = enginesim.New(cfg, enginesim.Options{Log: d.proc.log, Listen: d.network.listen, Dial: d.network.dial})
	return err
}

// run starts all parts, calls ready once every worker has announced itself, and stops them in the
// reverse order when ctx ends: frontend, workers, engines.
func (d *deployment) run(ctx context.Context, ln net.Listener, ready func()) error {
	engines, workers := newLayer(ctx), newLayer(ctx)
	for _, s := range d.engines {
		engines.run(func(ctx context.Context) error { return s.engine.Run(ctx, s.ln) })
		workers.run(func(ctx context.Context) error { return d.proc.worker(ctx, s.worker, s.role, s.url(), d.network.dial) })
	}
	bound, release := workers.bind(ctx)
	defer release()
	err := d.proc.frontend(bound, ln, ready)
	return errors.Join(err, workers.stop(), engines.stop())
}

// close ends what newDeployment began; engines that never ran only have a listener.
func (d *deployment) close() {
	for _, s := range d.engines {
		_ = s.ln.Close()
	}
	if d.proc != nil {
		d.proc.close()
	}
	if d.nats != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		_ = d.nats.Stop(ctx)
	}
}
