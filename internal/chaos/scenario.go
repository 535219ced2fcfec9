package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is what a run does to its deployment.
type Scenario string

// The scenarios.
const (
	Random     Scenario = "random"      // faults that the seed draws, while clients send all kinds of requests
	Rolling    Scenario = "rolling"     // every process ends when it is asked to and is started anew, one unit after the other, under the same load
	DecodeKill Scenario = "decode-kill" // each client has one long stream, all on one decode worker, which is killed
)

// play does what the scenario says, and calls enough once no client shall send any more.
func (r *run) play(ctx context.Context, enough func()) {
	defer enough()
	switch r.cfg.Scenario {
	case Random:
		end := time.AfterFunc(r.cfg.Duration, enough) // what is broken by then still comes back
		defer end.Stop()
		r.injectAll(ctx, plan(&r.cfg))
		sleep(ctx, time.Until(r.begun.Add(r.cfg.Duration)))
	case Rolling:
		for more := true; more && ctx.Err() == nil; more = time.Since(r.begun) < r.cfg.Duration {
			r.restartAll(ctx)
			sleep(ctx, settling)
		}
	case DecodeKill:
		r.killDecode(ctx)
	}
}

// restartAll restarts every unit, each once the one before is back in its place.
func (r *run) restartAll(ctx context.Context) {
	for _, u := range r.cfg.units() {
		if err := r.restart(ctx, u); err != nil && ctx.Err() == nil {
			r.broken("restart of %v: %v", u.names(), err)
		}
	}
}

// restart ends the parts of a unit, a worker before its engine, and starts them anew, an engine before its worker.
func (r *run) restart(ctx context.Context, u *unit) error {
	parts := u.names()
	var faults []*injected
	for _, name := range parts {
		i := &injected{Fault: Fault{Kind: drainOf(name), Part: name, At: time.Since(r.begun)}, begun: time.Now()}
		r.note(i)
		faults = append(faults, i)
		r.byName[name].signal(sigTerm)
		if err := r.byName[name].gone(ctx, r.endTime()); err != nil {
			return err
		}
	}
	for _, name := range slices.Backward(parts) {
		p := r.byName[name]
		if err := p.start(); err != nil {
			return err
		}
		if p.probe == "" {
			continue
		}
		if err := p.await(ctx); err != nil {
			return err
		}
	}
	err := r.complete(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range faults {
		i.back = time.Now()
	}
	return err
}

// complete waits until every frontend counts every worker and frontend among those that are ready.
func (r *run) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	missing := ""
	for {
		if missing = r.missing(ctx); missing == "" {
			return nil
		}
		if !sleep(ctx, askEvery) {
			return fmt.Errorf("%s after %s", missing, startTime)
		}
	}
}

// missing says who is not ready in whose eyes; empty: nobody.
func (r *run) missing(ctx context.Context) string {
	for _, p := range r.parts {
		if group(p.name) != "frontend" {
			continue
		}
		m, err := p.metrics(ctx)
		if err != nil {
			return err.Error()
		}
		for role, want := range map[string]int{"frontend": r.cfg.Frontends, "prefill": r.cfg.Prefill, "decode": r.cfg.Decode} {
			if ready := m.sum("baton_fleet_workers", `role="`+role+`"`, `state="ready"`); ready != want {
				return fmt.Sprintf("%s counts %d of %d %s processes ready", p.name, ready, want, role)
			}
		}
	}
	return ""
}

// drainOf is the fault of a part that is asked to end.
func drainOf(part string) Kind {
	switch {
	case strings.HasPrefix(part, "engine"):
		return EngineDrain
	case strings.HasPrefix(part, "frontend"):
		return FrontendDrain
	case part == "nats":
		return NATSDrain
	}
	return WorkerDrain
}
