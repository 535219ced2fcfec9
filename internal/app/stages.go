package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/baton-llm/baton/prefill"
)

// stages are what one worker does: whole requests always; prefills for others unless its engine only
// reads handles; handles of others unless its engine only issues them.
type stages struct {
	assigned *worker.Assignments
	reporter *worker.Reporter
	prefill  *prefill.Worker // nil: the role has none
	decode   *decode.Worker
}

// stages returns nil if the role is no worker's.
func (p *process) stages(id, url string, role wire.Role, connector kvtransfer.Connector, client *engine.Client, sender *relay.Sender, reg prometheus.Registerer, log *slog.Logger) *stages {
	prefills := role == wire.RolePrefill || role == wire.RoleBoth
	reads := role == wire.RoleDecode || role == wire.RoleBoth
	if !prefills && !reads {
		return nil
	}
	s := &stages{
		assigned: worker.NewAssignments(prefills, log),
		reporter: worker.NewReporter(id, p.begun, p.cfg.Worker.Announce, p.bus.Publish, log),
	}
	frames := worker.FromSender(sender)
	if prefills {
		s.prefill = prefill.New(p.cfg.Prefill, id, prefill.Deps{
			Jobs: s.assigned.Split, Next: p.next, Reporter: s.reporter, Frames: frames, Bodies: p.bus, Engine: client, EngineURL: url, Connector: connector,
			Ledger: kvtransfer.NewLedger(reg), Registerer: reg, Tracer: p.tracer, Log: p.log,
		})
	}
	jobs := []worker.Source[wire.DecodeJob]{s.assigned.Whole}
	if reads {
		jobs = append(jobs, p.next.Source(id), worker.FromQueue(worker.FromBus(p.bus.Decode()), id, log))
	}
	s.decode = decode.New(p.cfg.Decode, id, decode.Deps{
		Jobs: jobs, Reporter: s.reporter, Frames: frames, Bodies: p.bus, Engine: decode.FromClient(client),
		Capacity: func(ctx context.Context) (int, error) {
			m, err := client.Metrics(ctx)
			return m.CapacityTokens, err
		},
		Connector: connector, Notify: sender.NotifyWorker, Registerer: reg, Tracer: p.tracer, Log: p.log,
	})
	return s
}

// run runs the stages until ctx ends and they have drained.
func (s *stages) run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return s.decode.Run(ctx) })
	if s.prefill != nil {
		g.Go(func() error { return s.prefill.Run(ctx) })
	}
	return g.Wait()
}

// control takes what decode workers say of this worker's handles.
func (s *stages) control(from string, c wire.Control) {
	if s.prefill != nil {
		s.prefill.Control(from, c)
	}
}

// load is what the worker announces: the bounds of its engine and all that it has.
func (s *stages) load() wire.Load {
	l := s.decode.Load()
	if s.prefill != nil {
		p := s.prefill.Load()
		l.Running += p.Running
		l.Tokens += p.Tokens
		l.Waiting += p.Waiting
		l.Handles = p.Handles
	}
	return l
}
