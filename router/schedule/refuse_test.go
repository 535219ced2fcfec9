package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// refusing is a worker that computes a prompt of 8192 tokens in a second, and a law that refuses what
// is late.
func refusing(t *testing.T) *bench {
	b := single(t, func(c *schedule.Config) { c.SLO.TTFT, c.RejectLate = 5*time.Second, true })
	for i := range 3 {
		b.add(fmt.Sprint("before", i), 8192)
		b.serveOne()
	}
	return b
}

func (b *bench) isNear(what string, got, want time.Duration) {
	b.Helper()
	if d := got - want; d < -500*time.Millisecond || d > 500*time.Millisecond {
		b.Errorf("%s comes again after %v, want about %v", what, got, want)
	}
}

// Clients that are sent away at the same time come again one after the other, as fast as they can be
// served, and within what they heed.
func TestRefusedRequestsComeAgainInTurn(t *testing.T) {
	b := refusing(t)
	for i := range 100 {
		b.add(fmt.Sprintf("%03d", i), 8192)
	}
	b.now = b.now.Add(4500 * time.Millisecond) // too late for a prompt of a second
	refused := b.Expired(b.now)
	if len(refused) != 100 || b.Queued() != 0 {
		t.Fatalf("%d refused and %d left, want all refused", len(refused), b.Queued())
	}
	for i, r := range refused {
		if r.Reason != wire.TooLate {
			t.Fatalf("%s is refused as %s", r.Job.Key, r.Reason)
		}
		b.isNear(r.Job.Key, r.RetryAfter, min(max(1, time.Duration(i)), 60)*time.Second)
	}
	// Half a minute later half of them are gone.
	b.now = b.now.Add(30 * time.Second)
	b.add("later", 8192, func(j *schedule.Job) { j.Admitted = b.now.Add(-5 * time.Second) })
	if got := b.Expired(b.now); len(got) != 1 {
		t.Fatalf("%d refused, want the one", len(got))
	} else {
		b.isNear("later", got[0].RetryAfter, 30*time.Second)
	}
}

// What waits before a request of its class counts, and what waits behind it does not.
func TestRefusedRequestWaitsForThoseBeforeIt(t *testing.T) {
	for class, want := range map[wire.Class]time.Duration{wire.Interactive: 1, wire.Standard: 3, wire.Batch: 7} {
		b := refusing(t)
		for i := range 3 {
			b.add(fmt.Sprint("s", i), 8192)
		}
		for i := range 4 {
			b.add(fmt.Sprint("b", i), 8192, func(j *schedule.Job) { j.Class = wire.Batch })
		}
		b.add("late", 8192, func(j *schedule.Job) { j.Class, j.Admitted = class, b.now.Add(-5*time.Second) })
		got := b.Expired(b.now)
		if len(got) != 1 || got[0].Job.Key != "late" {
			t.Fatalf("refused %+v, want the late one", got)
		}
		b.isNear(class.String(), got[0].RetryAfter, want*time.Second)
	}
}

func TestNobodyKnowsWhenWithoutAnyPace(t *testing.T) {
	b := single(t, func(c *schedule.Config) { c.SLO.TTFT, c.RejectLate = 5*time.Second, true })
	b.add("late", 8192)
	b.now = b.now.Add(6 * time.Second)
	if got := b.Expired(b.now); len(got) != 1 || got[0].RetryAfter != 0 {
		t.Errorf("refused %+v, want the one without a time", got)
	}
}
