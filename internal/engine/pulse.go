package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// leastSilence is a silence worth noting. Shorter ones are covered by the margins of leases.
	leastSilence = 500 * time.Millisecond
	// heldUp is how long after a silence answers still arrive that it held up.
	heldUp = time.Second
	// keptSilences are remembered, the latest: minutes of them.
	keptSilences = 128
)

// pulse remembers when nothing was heard of the engine. While an engine or this process is frozen (stopped, starved,
// suspended with its machine) leases go on: what had been done before then arrives only after it, and what was to be done
// is done only then. Probes bound the silences of an engine that merely has nothing to say. Safe for concurrent use.
type pulse struct {
	start time.Time
	last  atomic.Int64 // when the engine was heard last, since start

	mu       sync.Mutex
	silences []silence // the latest last
}

type silence struct{ from, to time.Time }

func newPulse() *pulse { return &pulse{start: time.Now()} }

// heard notes that bytes of the engine have come.
func (p *pulse) heard() {
	now := time.Since(p.start)
	before := time.Duration(p.last.Swap(int64(now)))
	if now-before < leastSilence {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.silences) == keptSilences {
		p.silences = append(p.silences[:0], p.silences[1:]...)
	}
	p.silences = append(p.silences, silence{p.start.Add(before), p.start.Add(now)})
}

// Done returns the earliest instant at which the engine may have done what a call that began at begun brought at
// answered: that instant itself, or the beginning of a silence that may have held the answer up.
func (c *Client) Done(begun, answered time.Time) time.Time {
	c.pulse.mu.Lock()
	defer c.pulse.mu.Unlock()
	done := answered
	for _, s := range c.pulse.silences {
		if s.from.Before(done) && s.to.Add(heldUp).After(answered) {
			done = s.from
		}
	}
	if done.Before(begun) {
		return begun
	}
	return done
}

// Silence returns how long the longest silence since an instant was, and the longest of those that were going on at some
// moment between from and to. Shorter ones than half a second are none.
func (c *Client) Silence(since, from, to time.Time) (longest, within time.Duration) {
	c.pulse.mu.Lock()
	defer c.pulse.mu.Unlock()
	for _, s := range c.pulse.silences {
		if s.to.Before(since) {
			continue
		}
		long := s.to.Sub(s.from)
		longest = max(longest, long)
		if s.from.Before(to) && s.to.After(from) {
			within = max(within, long)
		}
	}
	return longest, within
}
