package router

import (
	"math"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Minute
	rateWindow    = 30 * time.Second // what the drain rate is averaged over, with exponential weight
)

// What is too much, in a refusal's reason: of all requests or of a class, in number or in bytes.
const (
	everyClass = "all"
	ofRequests = "requests"
	ofBytes    = "bytes"
)

// pool is one bound of admission and what it holds.
type pool struct {
	what     string // as a metric label and for people
	limits   Limits
	requests int
	bytes    int
	line     float64 // clients sent away whose turn has not come: each completion lets one in
	drain    meter
}

// admission bounds what is in flight, in all and per class. It is safe for concurrent use.
type admission struct {
	mu      sync.Mutex
	all     pool
	classes [3]pool
}

func newAdmission(cfg *Config) *admission {
	return &admission{
		all: pool{what: everyClass, limits: cfg.All},
		classes: [3]pool{
			wire.Interactive: {what: wire.Interactive.String(), limits: cfg.Interactive},
			wire.Standard:    {what: wire.Standard.String(), limits: cfg.Standard},
			wire.Batch:       {what: wire.Batch.String(), limits: cfg.Batch},
		},
	}
}

func (a *admission) pools(class wire.Class) [2]*pool {
	return [2]*pool{&a.all, &a.classes[min(int(class), len(a.classes)-1)]}
}

// enter counts a request in, or says why not. Who enters must leave once.
func (a *admission) enter(class wire.Class, bytes int, now time.Time) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pools(class) {
		if full := p.full(bytes); full != "" {
			p.line++
			return tooMany(p.what+"_"+full, p.wait(now))
		}
	}
	for _, p := range a.pools(class) {
		p.requests++
		p.bytes += bytes
		p.drain.start(now)
	}
	return nil
}

// leave counts a request out.
func (a *admission) leave(class wire.Class, bytes int, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pools(class) {
		p.requests--
		p.bytes -= bytes
		p.line = max(0, p.line-1)
		p.drain.count(now)
	}
}

// retryAfter is for a request that something behind admission refuses.
func (a *admission) retryAfter(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.line++
	return a.all.wait(now)
}

// full names the bound that a body of this size breaks. A body that is larger than the bound of
// bytes may come in alone, or it never could.
func (p *pool) full(bytes int) string {
	switch {
	case p.limits.Requests > 0 && p.requests >= p.limits.Requests:
		return ofRequests
	case p.limits.Bytes > 0 && p.requests > 0 && p.bytes+bytes > p.limits.Bytes:
		return ofBytes
	}
	return ""
}

// wait is when the last in line finds room, in whole seconds.
func (p *pool) wait(now time.Time) time.Duration {
	rate := p.drain.rate(now)
	if rate <= 0 || p.line/rate >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	return max(minRetryAfter, time.Duration(math.Ceil(p.line/rate))*time.Second)
}

// meter measures events per second with exponentially fading memory.
type meter struct {
	started time.Time // zero: not yet
	last    time.Time // of value
	value   float64
}

func (m *meter) start(now time.Time) {
	if m.started.IsZero() {
		m.started, m.last = now, now
	}
}

func (m *meter) count(now time.Time) {
	m.value = m.faded(now) + 1/rateWindow.Seconds()
	m.last = now
}

// rate corrects for the time before started, in which nothing could be counted.
func (m *meter) rate(now time.Time) float64 {
	if m.started.IsZero() {
		return 0
	}
	age := max(now.Sub(m.started), time.Second)
	return m.faded(now) / (1 - math.Exp(-age.Seconds()/rateWindow.Seconds()))
}

func (m *meter) faded(now time.Time) float64 {
	return m.value * math.Exp(-now.Sub(m.last).Seconds()/rateWindow.Seconds())
}
