package app

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/wire"
)

// many sends n requests, some of long prompts, and calls during once half of them are sent.
func (o *outside) many(t *testing.T, n, tokens int, during func()) error {
	var g errgroup.Group
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for i := range n {
		if i == n/2 {
			during()
		}
		g.Go(func() error { return o.proven(t, i, fmt.Sprint(i, " ", words(20+i%4*700)), tokens) })
		<-pace.C
	}
	return g.Wait()
}

// answered checks that the frontends have ended n requests, all of them well.
func (o *outside) answered(t *testing.T, n int) {
	t.Helper()
	done, all := 0.0, 0.0
	for _, p := range o.processes {
		done += metric(t, p.reg, "baton_requests_total", "done")
		all += metric(t, p.reg, "baton_requests_total", "")
	}
	if int(done) != n || int(all) != n {
		t.Errorf("%v requests ended and %v of them well, want %d", all, done, n)
	}
}

// inFlight waits until so many requests are admitted and not over, at all frontends.
func (o *outside) inFlight(t *testing.T, n float64) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		sum := 0.0
		for _, p := range o.processes {
			sum += metric(t, p.reg, "baton_requests_in_flight", "")
		}
		if sum >= n {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%v requests are in flight after 30 s, want %v", sum, n)
		}
	}
}

// onNATS is a deployment of the servers at url.
func onNATS(t *testing.T, url string, change func(*Config)) *outside {
	t.Helper()
	cfg := quick()
	cfg.Sim.TimeScale = 5
	cfg.NATS.URL, cfg.NATS.Storage = url, bus.File
	cfg.NATS.Prefill.AckWait, cfg.NATS.Decode.AckWait = 3*time.Second, 3*time.Second // what was said to a dead server is done again then
	cfg.Sim.Lease, cfg.Prefill.Lease = 10*time.Second, 10*time.Second                // a handle whose end was said to a dead server
	change(&cfg)
	return startOutside(t, cfg, 2, []wire.Role{wire.RolePrefill, wire.RolePrefill, wire.RoleDecode, wire.RoleDecode}, nil)
}

// The only server ends while requests are queued, prefilled, handed over and streamed, and comes back, with
// its files or with nothing. Nobody notices more than a pause.
func TestRequestsOutliveARestartOfTheServer(t *testing.T) {
	for _, storage := range []bus.Storage{bus.File, bus.Memory} {
		t.Run(string(storage), func(t *testing.T) {
			server := natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q, max_file_store: 32GB, max_memory_store: 8GB }", t.TempDir()))
			o := onNATS(t, server.URL(), func(c *Config) { c.NATS.Storage = storage })
			err := o.many(t, 60, 60, func() {
				o.inFlight(t, 10)
				server.Stop()
				server.Restart(t)
			})
			if err != nil {
				t.Error(err)
			}
			o.nothingHeld(t)
			o.answered(t, 60)
			for _, p := range o.processes {
				if n := metric(t, p.reg, "baton_bus_reconnects_total", ""); n == 0 {
					t.Error("a process did not connect again")
				}
			}
		})
	}
}

// Of three servers that keep everything three times, the leader of the prefill queue dies under load: nothing
// is lost and nothing happens twice. Without a second one, requests wait; when both are back, they go on.
func TestRequestsOutliveServersOfACluster(t *testing.T) {
	servers := natsdtest.StartCluster(t, 3)
	o := onNATS(t, servers.URLs(), func(c *Config) { c.NATS.Replicas = 3 })
	leader := servers.Leader(t, wire.PrefillStream)
	if err := o.many(t, 60, 60, func() { o.inFlight(t, 10); leader.Stop() }); err != nil {
		t.Errorf("without the leader: %v", err)
	}
	second := servers.Leader(t, wire.PrefillStream)
	if err := o.many(t, 30, 30, func() { second.Stop(); leader.Restart(t); second.Restart(t) }); err != nil {
		t.Errorf("with one server for a while: %v", err)
	}
	o.nothingHeld(t)
	o.answered(t, 90)
}
