package bus_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// Two machines' clocks are minutes off each other and off the server's. What one says ends in a minute ends in a minute
// at the other: a deadline, and the lease of a handle, which would else have expired before it came or be used for
// long after its blocks are another request's. A job that a third forwards arrives so, too.
func TestClocksMinutesApart(t *testing.T) {
	for name, c := range map[string]struct{ from, by, to time.Duration }{
		"all the same":           {0, 0, 0},
		"a little off":           {40 * time.Millisecond, -40 * time.Millisecond, 90 * time.Millisecond},
		"the sender is ahead":    {10 * time.Minute, 0, 0},
		"the receiver is ahead":  {0, 0, 10 * time.Minute},
		"all are off, each else": {-7 * time.Minute, 26 * time.Hour, 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(f *fixture) {
				on := func(b *bus.Bus, off time.Duration) func() time.Time {
					now := func() time.Time { return time.Now().Add(off) }
					if err := b.RunOn(f.Context(), now); err != nil {
						f.Fatal(err)
					}
					return now
				}
				join := func() *bus.Bus {
					b, err := bus.Join(f.Context(), bus.DefaultConfig(), "other", f.server, prometheus.NewRegistry(), quiet)
					if err != nil {
						f.Fatal(err)
					}
					return b
				}
				by, to := join(), join()
				defer by.Close()
				defer to.Close()
				here, there := on(f.bus, c.from), on(to, c.to)
				on(by, c.by)
				near := func(what string, got time.Time, want time.Duration) {
					if d := got.Sub(there()) - want; d.Abs() > 300*time.Millisecond {
						f.Errorf("%s is in %v at the receiver, want %v", what, got.Sub(there()), want)
					}
				}

				j := job("m", 1)
				j.Admitted, j.Deadline = here().Add(-5*time.Second), here().Add(time.Minute)
				kept := j.Deadline
				f.publish(j)
				if j.Deadline != kept {
					f.Error("publishing a job changed it")
				}
				received := make(chan *bus.Delivery[wire.PrefillJob], 1)
				stop, err := to.Prefill().Receive("baton.assign.to", func(d *bus.Delivery[wire.PrefillJob]) { received <- d })
				if err != nil {
					f.Fatal(err)
				}
				defer stop()
				d := f.fetch(by, "m", 1, time.Minute)[0]
				if err := d.Forward("baton.assign.to", &d.Job); err != nil {
					f.Fatal(err)
				}
				got := <-received
				near("admission", got.Job.Admitted, -5*time.Second)
				near("the deadline", got.Job.Deadline, time.Minute)
				if err := got.Done(f.Context()); err != nil {
					f.Error(err)
				}

				h := handle(2, 0)
				h.Handle.Digest, h.Handle.Issued, h.Handle.Expires = h.Digest, here(), here().Add(30*time.Second)
				if _, err := f.bus.Decode().Publish(f.Context(), h); err != nil {
					f.Fatal(err)
				}
				for d, err := range to.Decode().Fetch(f.Context(), "d1", 1, time.Minute) {
					if err != nil {
						f.Fatal(err)
					}
					near("the end of the lease", d.Job.Handle.Expires, 30*time.Second)
					if err := d.Job.Handle.Check(there(), h.Digest, time.Second); err != nil {
						f.Errorf("a fresh handle: %v", err)
					}
					if err := d.Job.Handle.Check(there().Add(31*time.Second), h.Digest, time.Second); err == nil {
						f.Error("a handle whose lease is over passes")
					}
					if err := d.Done(f.Context()); err != nil {
						f.Error(err)
					}
				}
			})
		})
	}
}

// A clock that is set anew while the process runs is seen, and an hour later still holds.
func TestClockThatJumps(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		var jumped atomic.Bool
		now := func() time.Time {
			if jumped.Load() {
				return time.Now().Add(-time.Hour)
			}
			return time.Now()
		}
		if err := f.bus.RunOn(f.Context(), now); err != nil {
			f.Fatal(err)
		}
		jumped.Store(true)
		time.Sleep(time.Minute) // the bus looks twice as often
		skew, err := f.bus.Skew(f.Context())
		if want := time.Hour; err != nil || (skew-want).Abs() > time.Second {
			f.Errorf("the server is ahead by %v, %v; want %v", skew, err, want)
		}
		j := job("m", 1)
		j.Deadline = now().Add(time.Minute)
		f.publish(j)
		d := f.one("m")
		if left := d.Job.Deadline.Sub(now()); (left - time.Minute).Abs() > time.Second {
			f.Errorf("the deadline is in %v, want a minute", left)
		}
		if err := d.Done(f.Context()); err != nil {
			f.Error(err)
		}
	})
}
