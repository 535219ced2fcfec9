package router

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/series"
)

const (
	keptRequests = 512 // that have ended, for people
	maxSteps     = 32  // kept of one request
)

// Step is one state of a request's life.
type Step struct {
	State   State
	Attempt int
	Worker  string // that took it there; empty: none
	At      time.Time
}

// Info is one request, for people: nothing of what it asks or what it was answered.
type Info struct {
	ID        string
	Model     string
	Tenant    string
	Class     wire.Class
	Streaming bool
	Admitted  time.Time
	State     State
	Since     time.Time // of State
	Attempt   int       // counts also those whose jobs were lost, as Timing.Attempts does not
	Worker    string    // that has or had it; empty: none
	Timing    Timing
	Usage     wire.EndInfo
	Sent      int       // tokens of the answer so far; 0: not known, as of most answers that cannot be continued
	Last      time.Time // when the last piece of a stream came; zero: none
	Steps     []Step    // of them at most the first maxSteps; nobody changes them
	Reason    string    // why it failed; may be empty
	Status    int       // that its client got then; 0: none
}

// TPOT is the time per output token after the first; 0: not known.
func (i *Info) TPOT() time.Duration {
	if n := i.Usage.CompletionTokens - 1; n > 0 && !i.Last.IsZero() && i.Timing.FirstToken > 0 {
		return max(0, i.Last.Sub(i.Admitted)-i.Timing.FirstToken) / time.Duration(n)
	}
	return 0
}

func (i *Info) ended() *series.Ended {
	return &series.Ended{
		Done: i.State == Done, Failed: i.State == Failed, TTFT: i.Timing.FirstToken, TPOT: i.TPOT(),
		PromptTokens: i.Timing.PromptTokens, CompletionTokens: i.Usage.CompletionTokens,
	}
}

// info needs the lock.
func (c *call) info() Info {
	i := Info{
		ID: c.req.ID, Model: c.req.Model, Tenant: c.req.Tenant, Class: c.req.Class, Streaming: c.req.Streaming, Admitted: c.admitted,
		State: c.state, Since: c.since, Attempt: int(c.attempt), Worker: c.worker(), Timing: c.timing, Usage: c.end, Last: c.last,
		Steps: c.steps[:len(c.steps):len(c.steps)], Sent: c.end.CompletionTokens,
	}
	if c.sent != nil {
		_, counted := c.sent.Counts()
		i.Sent = max(i.Sent, counted) // an answer that was cut short has no count but this
	}
	var e *Error
	if errors.As(c.err, &e) {
		i.Reason, i.Status = e.Reason, e.Status
	}
	return i
}

// enter moves to a state. It needs the lock, but for the first.
func (c *call) enter(s State, now time.Time, worker string) {
	figures, class := c.r.figures, c.req.Class
	if len(c.steps) > 0 {
		switch c.state { //nolint:exhaustive // The others are no queue.
		case Queued:
			figures.Pass(series.PrefillOut, class, now)
		case Handed:
			figures.Pass(series.DecodeOut, class, now)
		}
	}
	switch s { //nolint:exhaustive // Likewise.
	case Queued:
		figures.Pass(series.PrefillIn, class, now)
	case Handed:
		figures.Pass(series.DecodeIn, class, now)
	}
	c.state, c.since = s, now
	if len(c.steps) < maxSteps {
		c.steps = append(c.steps, Step{State: s, Attempt: int(c.attempt), Worker: worker, At: now})
	}
}

// past keeps the requests that ended last.
type past struct {
	mu   sync.Mutex
	ring []Info
	next int // where the oldest is, once the ring is full
}

func (p *past) add(i *Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ring) < keptRequests {
		p.ring = append(p.ring, *i)
		return
	}
	p.ring[p.next] = *i
	p.next = (p.next + 1) % keptRequests
}

// Requests returns what is in flight, the longest waiting first.
func (r *Router) Requests() []Info {
	calls := r.inFlight()
	slices.SortFunc(calls, func(a, b *call) int { return a.admitted.Compare(b.admitted) })
	infos := make([]Info, len(calls))
	for i, c := range calls {
		c.mu.Lock()
		infos[i] = c.info()
		c.mu.Unlock()
	}
	return infos
}

// Past returns at most n requests that have ended, the last one first.
func (r *Router) Past(n int) []Info {
	p := &r.past
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Info, 0, min(n, len(p.ring)))
	for i := range min(n, len(p.ring)) {
		out = append(out, p.ring[(p.next-1-i+2*len(p.ring))%len(p.ring)])
	}
	return out
}

// Figures returns the rolling figures of this frontend's requests.
func (r *Router) Figures() *series.Series { return r.figures }

// Cancel ends a request in flight, whose client is told, and tells whether there was one of that id.
func (r *Router) Cancel(id string) bool {
	for _, c := range r.inFlight() {
		if c.req.ID != id {
			continue
		}
		c.mu.Lock()
		final := c.state.Final()
		c.mu.Unlock()
		if !final {
			c.settle(Cancelled, errCancelled)
			return true
		}
	}
	return false
}
