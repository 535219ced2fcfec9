package lawsim

import (
	"container/heap"
	"time"
)

// clock is simulated time: events in order of their times, then of their making.
type clock struct {
	now    time.Time
	events events
	made   int
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

var epoch = time.Unix(1_700_000_000, 0)

func newClock() *clock { return &clock{now: epoch} }

func (c *clock) after(d time.Duration, do func()) {
	c.made++
	heap.Push(&c.events, event{at: c.now.Add(d), seq: c.made, do: do})
}

// run lets events happen until more says no; it reports whether there are any left.
func (c *clock) run(more func() bool) bool {
	for more() {
		if len(c.events) == 0 {
			return false
		}
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.do()
	}
	return true
}
