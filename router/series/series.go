// Package series keeps rolling figures of one frontend's requests, for people: how many came, went and
// ended in each step of the last minutes, and how fast they were. It takes constant memory and knows
// nothing of how requests are carried out.
package series

import (
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	// Step is the time that one point stands for.
	Step = 2 * time.Second
	// Points is how many there are: five minutes.
	Points = 150

	classes = int(wire.Batch) + 1
)

// Flow is a place that requests pass.
type Flow uint8

// The flows: into the frontend, and into and out of the two queues. A request that is tried again comes
// into a queue more than once.
const (
	Arrived Flow = iota
	PrefillIn
	PrefillOut
	DecodeIn
	DecodeOut
	flows
)

// Ended is how one request went.
type Ended struct {
	Done, Failed     bool          // neither: cancelled
	TTFT             time.Duration // 0: it had no first token
	TPOT             time.Duration // 0: not known
	PromptTokens     int
	CompletionTokens int
}

// Aim is what a request must keep to count as good; 0: no bound.
type Aim struct{ TTFT, TPOT time.Duration }

func (a Aim) met(e *Ended) bool {
	return e.Done && (a.TTFT == 0 || e.TTFT <= a.TTFT) && (a.TPOT == 0 || e.TPOT <= a.TPOT)
}

// counts is what one step has.
type counts struct {
	flow                           [flows][classes]uint32
	done, failed, cancelled, good  uint32
	promptTokens, completionTokens uint64
	ttft, tpot                     histogram
	number                         int64 // of the step, from the epoch on
}

// Series is the figures of the last minutes. Its methods are safe for concurrent use.
type Series struct {
	aim Aim

	mu    sync.Mutex
	steps [Points + 1]counts // by number; one more than is shown: the last is not over yet
}

// New makes figures that hold requests to aim.
func New(aim Aim) *Series { return &Series{aim: aim} }

func number(at time.Time) int64 { return at.UnixNano() / int64(Step) }

// step is the present one. It needs the lock.
func (s *Series) step(now time.Time) *counts {
	n := number(now)
	c := &s.steps[n%int64(len(s.steps))]
	if c.number != n {
		*c = counts{number: n}
	}
	return c
}

// Pass counts a request of a class that passes a place.
func (s *Series) Pass(f Flow, class wire.Class, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step(now).flow[f][min(int(class), classes-1)]++
}

// End counts a request that has ended.
func (s *Series) End(e *Ended, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.step(now)
	switch {
	case e.Done:
		c.done++
	case e.Failed:
		c.failed++
	default:
		c.cancelled++
	}
	if s.aim.met(e) {
		c.good++
	}
	c.promptTokens += uint64(max(0, e.PromptTokens))
	c.completionTokens += uint64(max(0, e.CompletionTokens))
	c.ttft.add(e.TTFT)
	c.tpot.add(e.TPOT)
}

// Rates is how many requests of a class pass each place in a second.
type Rates [flows][classes]float64

// Rates averages over the last so many whole steps.
func (s *Series) Rates(steps int, now time.Time) (r Rates) {
	s.mu.Lock()
	defer s.mu.Unlock()
	per := 1 / (float64(steps) * Step.Seconds())
	s.each(steps, number(now), func(_ int, c *counts) {
		for f := range c.flow {
			for class, n := range c.flow[f] {
				r[f][class] += float64(n) * per
			}
		}
	})
	return r
}

// each calls f for so many steps before the one numbered end, oldest first, with their place; those
// without counts are left out. It needs the lock.
func (s *Series) each(steps int, end int64, f func(at int, c *counts)) {
	first := end - int64(steps)
	for i := range steps {
		n := first + int64(i)
		if c := &s.steps[n%int64(len(s.steps))]; c.number == n {
			f(i, c)
		}
	}
}
