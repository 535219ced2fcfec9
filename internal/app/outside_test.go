package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// outside is a deployment in real time whose parts are processes of their own, with connections of their
// own to NATS servers that others run.
type outside struct {
	*deployment // the first frontend's process, and all engines

	bases     []string // of the frontends
	workers   []string // names
	processes []*process
	logs      logBuffer
}

// startOutside runs frontends, and an engine and a worker for each of roles. as sets what a process of a
// role knows of NATS; nil: nothing but cfg.
func startOutside(t *testing.T, cfg Config, frontends int, roles []wire.Role, as func(*Config, wire.Role)) *outside {
	t.Helper()
	cfg.API.DrainTimeout, cfg.Prefill.DrainTimeout, cfg.Decode.DrainTimeout = cfg.Up.Drain, cfg.Up.Drain, cfg.Up.Drain
	o := &outside{deployment: &deployment{network: network{listen: net.Listen}}}
	engines, workers, fronts := newLayer(t.Context()), newLayer(t.Context()), newLayer(t.Context())
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		for _, l := range []*layer{fronts, workers, engines} {
			if err := l.stop(); err != nil {
				t.Errorf("stop = %v", err)
			}
		}
		for _, p := range o.processes {
			p.close()
		}
	})
	open := func(role wire.Role) *process {
		own := cfg
		if as != nil {
			as(&own, role)
		}
		p, err := open(t.Context(), &own, string(role), nil, &o.logs)
		if err != nil {
			t.Fatal(err)
		}
		o.processes = append(o.processes, p)
		return p
	}
	ready := make(chan struct{}, frontends)
	for range frontends {
		p := open(wire.RoleFrontend)
		o.proc = cmp.Or(o.proc, p)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.bases = append(o.bases, "http://"+ln.Addr().String())
		fronts.run(func(ctx context.Context) error { return p.frontend(ctx, ln, func() { ready <- struct{}{} }) })
	}
	for _, role := range roles {
		p, ln := open(role), o.listen(t)
		e, err := enginesim.New(cfg.Up.engine(cfg.Sim, role), enginesim.Options{Log: p.log, Listen: net.Listen})
		if err != nil {
			t.Fatal(err)
		}
		s := &simulated{role: role, worker: newID(p.cfg.NATS.Name, role), engine: e, ln: ln}
		o.engines, o.workers = append(o.engines, s), append(o.workers, s.worker)
		engines.run(func(ctx context.Context) error { return e.Run(ctx, ln) })
		workers.run(func(ctx context.Context) error { return p.worker(ctx, s.worker, role, s.url(), nil, nil) })
	}
	deadline := time.After(30 * time.Second)
	for range frontends {
		select {
		case <-ready:
		case <-deadline:
			t.Fatalf("not ready after 30 s; logs:\n%s", o.logs.String())
		}
	}
	return o
}

func (o *outside) listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// proven asks one of the frontends for a streamed answer and checks that it is the prompt's.
func (o *outside) proven(t *testing.T, i int, prompt string, tokens int) error {
	body := chatBody(o.proc.cfg.Sim.Model, prompt, tokens)
	got, err := streamChat(t.Context(), http.DefaultClient, o.bases[i%len(o.bases)], body)
	if want := proof(t, body, tokens); err == nil && got != want {
		err = fmt.Errorf("text %q, want %q", got, want)
	}
	if err != nil {
		return fmt.Errorf("request %d: %w", i, err)
	}
	return nil
}

// nothingHeld checks all processes.
func (o *outside) nothingHeld(t *testing.T) {
	t.Helper()
	var regs []*prometheus.Registry
	for _, p := range o.processes {
		regs = append(regs, p.reg)
	}
	nothingHeld(t, o.deployment, regs...)
}

// logBuffer is what several processes log.
type logBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// guarded is a server that lets in the users of `baton nats permissions` and nobody else.
func guarded(t *testing.T) (url string, as func(*Config, wire.Role)) {
	t.Helper()
	password := func(role wire.Role) string { return "password-of-" + string(role) }
	for _, role := range bus.Users() {
		t.Setenv("NATS_"+strings.ToUpper(string(role))+"_PASSWORD", password(role))
	}
	var conf strings.Builder
	if err := bus.PrintPermissions(&conf, "", ""); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&conf, "jetstream { store_dir: %q, max_memory_store: 8GB }\n", t.TempDir())
	return natsdtest.Start(t, conf.String()).URL(), func(c *Config, role wire.Role) {
		c.NATS.User, c.NATS.Password = string(role), password(role)
	}
}

// Every kind of process, with the permissions that are printed for it and no others: whatever way a request
// or its body takes, nothing is refused.
func TestPermissionsSuffice(t *testing.T) {
	cfg := quick()
	cfg.Sim.MaxModelLen = 1 << 20
	cfg.Up.PrefillBatch, cfg.Up.DecodeBatch = 0, 0
	var as func(*Config, wire.Role)
	cfg.NATS.URL, as = guarded(t)
	o := startOutside(t, cfg, 2, []wire.Role{wire.RolePrefill, wire.RolePrefill, wire.RoleDecode, wire.RoleDecode, wire.RoleBoth}, as)
	for _, size := range []int{100, 20_000, 100_000, 1_200_000} {
		for i := range 2 {
			if err := o.proven(t, i, fmt.Sprint(i, strings.Repeat("0123456789abcdef", size/16)), 5); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := streamChat(ctx, http.DefaultClient, o.bases[0], chatBody(cfg.Sim.Model, words(3000), 100_000))
	if err == nil {
		t.Error("an answer of 100000 tokens came in 200 ms")
	}
	own := cfg
	as(&own, bus.Operator)
	desk, err := operator.Open(t.Context(), own.NATS, own.Fleet, nil, telemetry.Logger(own.Log, &o.logs))
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	both := o.workers[len(o.workers)-1]
	var said strings.Builder
	if err := desk.SetRole(t.Context(), both, wire.RoleDecode, &said); err != nil || !strings.Contains(said.String(), both+" acts as decode now") {
		t.Errorf("SetRole = %q, %v", said.String(), err)
	}
	if queues, err := desk.Queues(t.Context()); err != nil || len(queues) != 2 {
		t.Errorf("Queues = %v, %v", queues, err)
	}
	short, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	if err := errors.Join(desk.Drain(short, both, true, &said), desk.Undrain(short, both, &said)); err != nil || !strings.Contains(said.String(), both+" takes work again") {
		t.Errorf("Drain and Undrain = %q, %v", said.String(), err)
	}
	if err := o.proven(t, 0, words(3000), 5); err != nil {
		t.Error(err)
	}
	o.nothingHeld(t)
	if logs := o.logs.String(); strings.Contains(strings.ToLower(logs), "permission") {
		t.Errorf("the server denied something:\n%s", logs)
	}
	for _, place := range []string{"split", "whole"} {
		if n := metric(t, o.processes[0].reg, "baton_dispatch_assigned_total", place) + metric(t, o.processes[1].reg, "baton_dispatch_assigned_total", place); n == 0 {
			t.Errorf("no request was placed %s", place)
		}
	}
}
