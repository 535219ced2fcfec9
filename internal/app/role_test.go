package app

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/wire"
)

// tool runs f as a command of its own would, beside the processes of the site.
func (s *site) tool(t *testing.T, f func(d *operator.Desk) error) error {
	t.Helper()
	desk, err := operator.Open(t.Context(), s.d.proc.cfg.NATS, s.cfg.Fleet, s.d.nats, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer desk.Close()
	return f(desk)
}

// list is what baton workers prints.
func (s *site) list(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	if err := s.tool(t, func(d *operator.Desk) error {
		workers, err := d.Workers(t.Context())
		return errors.Join(err, operator.PrintWorkers(&out, workers))
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (s *site) setRole(t *testing.T, worker string, role wire.Role) (out string, err error) {
	t.Helper()
	var said strings.Builder
	err = s.tool(t, func(d *operator.Desk) error { return d.SetRole(t.Context(), worker, role, &said) })
	return said.String(), err
}

// count counts the messages on a subject.
func (s *site) count(t *testing.T, subject string) *atomic.Int64 {
	t.Helper()
	var n atomic.Int64
	stop, err := s.d.proc.bus.Subscribe(subject, func([]byte) { n.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &n
}

// A worker changes its role again and again while requests come. Work follows, and nobody else notices.
func TestWorkerChangesItsRoleUnderLoad(t *testing.T) {
	cfg := onePair()
	cfg.Up.Both = 1
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		w := s.of(wire.RoleBoth)[0]
		prefills, handles := s.count(t, wire.AssignSubject(w.worker)), s.count(t, wire.DecodeSubject(s.cfg.Sim.Model, w.worker))
		var g errgroup.Group
		over, asked := make(chan struct{}), 0
		g.Go(func() error { // more than one prefill worker can do, less than two can
			for tick := time.NewTicker(170 * time.Millisecond); ; asked++ {
				select {
				case <-tick.C:
				case <-over:
					tick.Stop()
					return nil
				}
				prompt := fmt.Sprintf("%d %s", asked, strings.Repeat("x", 4*4096))
				g.Go(func() error { return s.proven(t, prompt, 30) })
			}
		})
		was := wire.RoleBoth
		for range 2 {
			for _, role := range []wire.Role{wire.RolePrefill, wire.RoleDecode, wire.RoleBoth} {
				said, err := s.setRole(t, w.worker, role)
				if want := fmt.Sprintf("%s acts as %s now, before as %s\n", w.worker, role, was); err != nil || said != want {
					t.Fatalf("setRole = %q, %v, want %q", said, err, want)
				}
				was = role
				time.Sleep(3 * time.Second) // what was assigned before comes to its end
				p, h := prefills.Load(), handles.Load()
				time.Sleep(4 * time.Second)
				p, h = prefills.Load()-p, handles.Load()-h
				if (p > 0) != (role != wire.RoleDecode) || role != wire.RoleBoth && (h > 0) != (role == wire.RoleDecode) {
					t.Errorf("acting as %s, the worker got %d prompts and %d handles", role, p, h)
				}
			}
		}
		close(over)
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if n := metric(t, s.d.proc.reg, "baton_requests_total", "done"); int(n) != asked || asked < 200 {
			t.Errorf("%v of %d requests are done", n, asked)
		}
		if n := metric(t, s.d.proc.reg, "baton_request_retries_total", ""); n != 0 {
			t.Errorf("%v tries were not the first", n)
		}
	})
}

// Only an engine that can do both changes roles; nobody is told that another one did.
func TestRolesThatCannotBe(t *testing.T) {
	cfg := onePair()
	cfg.Up.Both = 1
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		p, d, both := s.of(wire.RolePrefill)[0].worker, s.of(wire.RoleDecode)[0].worker, s.of(wire.RoleBoth)[0].worker
		for _, c := range []struct {
			worker string
			role   wire.Role
			want   string
		}{
			{p, wire.RoleDecode, "can act as prefill alone"},
			{d, wire.RoleBoth, "can act as decode alone"},
			{both, "frontend", "prefill, decode or both"},
			{both, "", "prefill, decode or both"},
			{"nobody", wire.RoleBoth, "no worker nobody answers"},
		} {
			if said, err := s.setRole(t, c.worker, c.role); err == nil || !strings.Contains(err.Error(), c.want) || said != "" {
				t.Errorf("%s as %q: %q, %v, want an error with %q", c.worker, c.role, said, err, c.want)
			}
		}
		if said, err := s.setRole(t, p, wire.RolePrefill); err != nil || !strings.Contains(said, "acts as prefill now, before as prefill") {
			t.Errorf("the role that it has: %q, %v", said, err)
		}
		list := s.list(t)
		for _, w := range []string{p + "  prefill ", d + "   decode ", both + "     both "} {
			if !strings.Contains(list, w) {
				t.Errorf("the list lacks %q:\n%s", w, list)
			}
		}
	})
}

// The list shows every worker in the role it acts in, and whoever takes the last one of a role hears of it.
func TestWorkersAreListed(t *testing.T) {
	cfg := splitting(onePair())
	cfg.Up.Prefill, cfg.Up.Decode, cfg.Up.Both = 0, 0, 2
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		all := s.of(wire.RoleBoth)
		if said, err := s.setRole(t, all[0].worker, wire.RolePrefill); err != nil || strings.Contains(said, "warning") {
			t.Errorf("the first: %q, %v", said, err)
		}
		if said, err := s.setRole(t, all[1].worker, wire.RolePrefill); err != nil || !strings.Contains(said, "warning: there is no decode worker") {
			t.Errorf("the second: %q, %v", said, err)
		}
		if _, err := s.setRole(t, all[1].worker, wire.RoleDecode); err != nil {
			t.Error(err)
		}
		out := s.list(t)
		for i, role := range []wire.Role{wire.RolePrefill, wire.RoleDecode} {
			if want := all[i].worker + "  " + string(role); !strings.Contains(out, want) || strings.Count(out, "ready") != 2 {
				t.Errorf("the list lacks %q:\n%s", want, out)
			}
		}
		if err := s.proven(t, longPrompt(1), 5); err != nil {
			t.Error(err)
		}
	})
}
