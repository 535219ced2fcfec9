package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// second is another process's bus at the same server.
func (f *fixture) second(name string) *bus.Bus {
	f.Helper()
	b, err := bus.Connect(f.Context(), bus.DefaultConfig(), name, f.server, prometheus.NewRegistry(), quiet)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

func (f *fixture) receive(b *bus.Bus, subject string) <-chan *bus.Delivery[wire.PrefillJob] {
	f.Helper()
	got := make(chan *bus.Delivery[wire.PrefillJob], 16)
	stop, err := b.Prefill().Receive(subject, func(d *bus.Delivery[wire.PrefillJob]) { got <- d })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(stop)
	return got
}

func TestForwardedJobIsTheReceiversToSettle(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(map[bool]string{false: "another process", true: "the same process"}[own], func(t *testing.T) { forwardAndSettle(t, own) })
	}
}

func forwardAndSettle(t *testing.T, own bool) {
	inBubble(t, nil, func(f *fixture) {
		worker := f.bus
		if !own {
			worker = f.second("worker")
			defer worker.Close()
		}
		got := f.receive(worker, wire.AssignSubject("w1"))
		f.publish(job("m", 1))
		d := f.one("m")
		assigned := d.Job
		assigned.Assignment = &wire.Assignment{Place: wire.PlaceSplit, Decode: "d1", Dispatcher: "f1", Why: "split"}
		if err := d.Forward(wire.AssignSubject("w1"), &assigned); err != nil {
			t.Fatal(err)
		}
		if own && len(got) == 0 {
			t.Error("a job that this process forwards to itself goes by way of the server")
		}
		var r *bus.Delivery[wire.PrefillJob]
		select {
		case r = <-got:
		case <-time.After(time.Second):
			t.Fatal("nothing received")
		}
		if diff := cmp.Diff(assigned, r.Job); diff != "" {
			t.Errorf("received job differs: %s", diff)
		}
		// It is kept alive for as long as it takes, and only its receiver can settle it.
		time.Sleep(10 * time.Minute)
		if again := f.fetch(f.bus, "m", 1, time.Second); len(again) != 0 {
			t.Errorf("job came again while its receiver works on it")
		}
		if err := d.Done(f.Context()); err == nil {
			t.Error("Done of a forwarded delivery succeeded")
		}
		if err := r.Done(f.Context()); err != nil {
			t.Errorf("Done = %v", err)
		}
		f.depth(0)
	})
}

func TestReclaimBringsBackAJobWhoseReceiverIsDead(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		d := f.one("m")
		if err := d.Reclaim(); err == nil {
			t.Error("Reclaim of a delivery that was not forwarded succeeded")
		}
		if err := d.Forward(wire.AssignSubject("nobody"), &d.Job); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := d.Reclaim(); err != nil {
			t.Fatal(err)
		}
		again := f.one("m")
		if again.Deliveries != 2 || time.Since(begun) > time.Second {
			t.Errorf("delivery %d after %v, want 2 at once", again.Deliveries, time.Since(begun))
		}
	})
}

func TestLostForwardComesAgainAfterAckWait(t *testing.T) {
	inBubble(t, func(c *bus.Config) { c.Prefill.AckWait = 10 * time.Second }, func(f *fixture) {
		f.publish(job("m", 1))
		d := f.one("m")
		if err := d.Forward(wire.AssignSubject("nobody"), &d.Job); err != nil {
			t.Fatal(err)
		}
		if again := f.one("m"); again.Deliveries != 2 {
			t.Errorf("delivery %d, want 2", again.Deliveries)
		}
	})
}

// One process gets all jobs of a model, even while its hands are full; when it falls silent another
// takes over within the time that the pin lasts.
func TestOneProcessAtATimeGetsTheJobs(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		other := f.second("other")
		defer other.Close()
		f.publish(job("m", 1))
		f.one("m")

		taken := make(chan *bus.Delivery[wire.PrefillJob], 16)
		ctx, cancel := context.WithCancel(f.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				for d, err := range other.Prefill().Fetch(ctx, "m", 8, time.Second) {
					if err != nil {
						t.Errorf("standby's fetch: %v", err)
						return
					}
					taken <- d
				}
			}
		}()
		for range 20 { // as a dispatcher that has no room does
			if err := f.bus.Prefill().Hold(f.Context(), "m"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
		f.publish(job("m", 2))
		if d := f.one("m"); d.Job.Stream != 2 {
			t.Errorf("got job %d, want 2", d.Job.Stream)
		}
		synctest.Wait()
		if len(taken) != 0 {
			t.Errorf("the standby got %d jobs", len(taken))
		}

		f.publish(job("m", 3)) // and nobody fetches here any more
		silent := time.Now()
		if d := <-taken; d.Job.Stream != 3 || time.Since(silent) > 3*time.Second {
			t.Errorf("standby got job %d after %v, want 3 within 3s", d.Job.Stream, time.Since(silent))
		}
		cancel()
		<-ended
	})
}
