package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/supervise"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// stopTime bounds the end of the embedded NATS server.
const stopTime = 2 * time.Second

// RunUp runs a whole deployment until ctx ends: an embedded NATS server, the workers and a frontend in
// this process, and for each worker an engine: a simulated one in this process too, or a vLLM below it.
// It tells people on screen what runs where.
func RunUp(ctx context.Context, cfg *Config, screen, logs io.Writer) error {
	if err := cfg.API.Auth.CheckOpen(cfg.API.Listen); err != nil {
		return err
	}
	ln, err := listen(ctx, cfg.API.Listen, "clients (api.listen)") // before minutes of loading: it may be in use
	if err != nil {
		return err
	}
	defer ln.Close() // for the case that it never serves
	var board *supervise.Board
	if cfg.Up.Engine == engineVLLM {
		board = supervise.NewBoard(screen, isTerminal(screen))
		logs = board.Over(logs)
	}
	d, err := newDeployment(ctx, cfg, logs)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.listenAdmin(ctx); err != nil {
		return err
	}
	if board != nil {
		if err := d.addVLLM(ctx, board); err != nil {
			return err
		}
	}
	removeReady := func() { _ = os.Remove(cfg.Up.ReadyFile) } // an empty name removes nothing
	removeReady()                                             // that of a run which was killed
	defer removeReady()
	return d.run(ctx, ln, func() {
		if board != nil {
			board.Done()
		}
		model := cfg.model()
		if cfg.Up.Engine == engineExternal {
			model = d.askModel(ctx)
		}
		printScreen(screen, cfg, ln.Addr(), d, model)
		if err := writeReady(cfg, ln.Addr(), d, model); err != nil {
			d.proc.log.ErrorContext(ctx, "ready file not written", slog.Any("error", err))
		}
	})
}

// deployment is everything that `baton up` runs.
type deployment struct {
	nats     *natsd.Server
	proc     *process
	network  network
	engines  []*simulated
	vllms    []*supervised
	external []front          // of engines that others run
	board    *supervise.Board // nil: no engine takes long to start
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

// front is a worker and the engine that it fronts.
type front struct {
	worker string
	role   wire.Role
	engine string // name
	url    string
	check  engineCheck // nil: the engine is what baton made it
}

// fronts lists what runs where, prefill first.
func (d *deployment) fronts() (fronts []front) {
	for _, s := range d.engines {
		fronts = append(fronts, front{worker: s.worker, role: s.role, engine: s.worker, url: s.url()})
	}
	for _, s := range d.vllms {
		fronts = append(fronts, front{worker: s.worker, role: s.engine.Role, engine: s.engine.Name, url: s.engine.URL()})
	}
	fronts = append(fronts, d.external...)
	slices.SortStableFunc(fronts, func(a, b front) int { return cmp.Compare(rank(a.role), rank(b.role)) })
	return fronts
}

// rank is the place of a role in the order in which people read.
func rank(role wire.Role) int {
	return slices.Index([]wire.Role{wire.RolePrefill, wire.RoleDecode, wire.RoleBoth}, role)
}

func newDeployment(ctx context.Context, cfg *Config, logs io.Writer) (*deployment, error) {
	return newDeploymentOn(ctx, cfg, logs, network{listen: net.Listen})
}

func newDeploymentOn(ctx context.Context, cfg *Config, logs io.Writer, on network) (_ *deployment, err error) {
	d := &deployment{network: on}
	cfg = cfg.drained()
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
	switch cfg.Up.Engine {
	case engineVLLM:
		return d, nil
	case engineExternal:
		d.addExternal()
		return d, nil
	}
	for role, n := range cfg.Up.counts() {
		for range n {
			if err := d.addEngine(cfg.Up.engine(cfg.Sim, role), role); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// listenAdmin opens the listener for operators, so that its address can be told.
func (d *deployment) listenAdmin(ctx context.Context) (err error) {
	cfg := d.proc.cfg
	switch {
	case cfg.API.AdminListen != "":
		d.proc.admin, err = listen(ctx, cfg.API.AdminListen, "operators (api.admin_listen)")
	case cfg.Up.UI != "":
		d.proc.admin, err = listenNear(ctx, cfg.Up.UI, "operators (up.ui)")
	}
	return err
}

// drained is the configuration with the drain timeouts of `baton up`; engines that others run keep the workers' own.
func (c *Config) drained() *Config {
	own, drain := *c, c.Up.Drain
	switch c.Up.Engine {
	case engineExternal:
		return &own
	case engineVLLM:
		drain = c.VLLM.Drain
	}
	own.API.DrainTimeout, own.Prefill.DrainTimeout, own.Decode.DrainTimeout = drain, drain, drain
	return &own
}

// counts is how many engines of each role are asked for.
func (u *Up) counts() map[wire.Role]int {
	return map[wire.Role]int{wire.RolePrefill: u.Prefill, wire.RoleDecode: u.Decode, wire.RoleBoth: u.Both}
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
	s := &simulated{role: role, worker: newID("", role), ln: ln}
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
	}
	for _, s := range d.vllms {
		engines.run(s.run)
	}
	if d.board != nil {
		engines.run(d.board.Run)
	}
	for _, f := range d.fronts() {
		workers.run(func(ctx context.Context) error {
			return d.proc.worker(ctx, f.worker, f.role, f.url, d.network.dial, f.check)
		})
	}
	bound, release := engines.bind(ctx)
	defer release()
	bound, free := workers.bind(bound)
	defer free()
	err := d.proc.frontend(bound, ln, ready)
	return errors.Join(err, workers.stop(), engines.stop())
}

// close ends what newDeployment began; engines that never ran only have a listener.
func (d *deployment) close() {
	for _, s := range d.engines {
		_ = s.ln.Close()
	}
	if d.proc != nil && d.proc.admin != nil {
		_ = d.proc.admin.Close()
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
