package router

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/resume"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// State is how far a request has come.
type State uint8

// The states in order; the last three are final.
const (
	Queued State = iota
	Prefilling
	Handed
	Decoding
	Done
	Failed
	Cancelled
)

var stateNames = [...]string{"queued", "prefilling", "handed", "decoding", "done", "failed", "cancelled"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// Final tells whether no state follows.
func (s State) Final() bool { return s >= Done }

// call is one request from admission until its answer is closed. It takes its events from any
// goroutine; only the goroutine in Do or Answer.Next waits.
type call struct {
	r        *Router
	req      *Request
	stream   uint64
	admitted time.Time
	span     trace.Span
	wake     chan struct{}   // of the one waiting goroutine; buffers one
	left     <-chan struct{} // closed when the client leaves, which ends the call

	mu       sync.Mutex // never held while the receiver or the router's table is called
	state    State
	since    time.Time          // of state
	steps    []Step             // the states so far
	attempt  uint32             // from 1; frames of another one are fenced off
	unborn   int                // attempts whose jobs were lost in the queue
	failures int                // attempts in a row that Config.Attempts counts
	missed   bool               // the queue did not have the current attempt's job when it was looked for
	looked   time.Time          // when that was, or when the job was queued
	lost     wire.Failure       // of the attempt that ended last, for Do; valid if again
	avoid    []string           // workers that had an attempt which failed, the last one last
	again    bool               // Do shall publish the current attempt; no frame of it can have come
	job      receipt            // of the current attempt
	queued   trace.Span         // of the current attempt while no worker has it; nil: not in the queue
	parent   string             // of the current attempt's job: the traceparent
	ask      ask                // what the current attempt asks for
	sent     *resume.Transcript // of a stream that can be continued; nil: of none
	prefill  relay.RunID        // adopted; zero: none
	decode   relay.RunID        // adopted; zero: none
	whole    bool               // decode does all of the request
	split    bool               // a handle of this or an earlier attempt may be somewhere
	next     string             // decode worker that the handle is for, while Handed
	lapse    time.Time          // when no decode worker takes the handle any more, while Handed; zero: not said
	pieces   []piece            // of the answer, not read yet
	pending  int                // bytes in pieces
	parked   bool               // a goroutine waits in Answer.Next and has taken all pieces
	direct   Writer             // see Answer.Direct; nil: pieces wait for Next
	slab     []byte             // where the next pieces are copied to
	begun    bool               // the client can have a piece of the answer: another attempt must continue it
	came     bool               // the current attempt's run has sent a piece of a stream: no other run
	last     time.Time          // when the last piece of a stream came
	gaps     prometheus.Observer
	timing   Timing
	handed   time.Time
	end      wire.EndInfo
	err      error  // why failed or cancelled
	detach   func() // lets go of the client's context and the deadline; nil until known

	released sync.Once
}

// receipt says which queued job is a call's.
type receipt struct {
	key, model string // empty: none
	seq        uint64 // 0: not in the queue any more
}

// piece is one payload of the answer.
type piece struct {
	run  relay.RunID // zero: of none, baton's own
	seq  uint32
	data []byte
}

// A slab is memory for the pieces of a stream: at first for an event or two, and for more where they come faster than
// the client takes them.
const (
	slabLeast = 512
	slabMost  = 4 << 10
)

// keep copies a payload, which is valid only during the call. It needs the lock.
func (c *call) keep(payload []byte) []byte {
	if len(payload) > slabMost/4 {
		return bytes.Clone(payload)
	}
	if len(payload) > cap(c.slab)-len(c.slab) {
		c.slab = make([]byte, 0, min(slabMost, max(slabLeast, 2*cap(c.slab), 2*len(payload))))
	}
	from := len(c.slab)
	c.slab = append(c.slab, payload...)
	return c.slab[from:len(c.slab):len(c.slab)]
}

// to moves to a state that is not final. It needs the lock.
func (c *call) to(s State, now time.Time, worker string) {
	c.enter(s, now, worker)
	c.dequeue(now, "")
	if c.span.IsRecording() {
		c.span.AddEvent(s.String(), trace.WithTimestamp(now),
			trace.WithAttributes(attribute.String("baton.worker", worker), attribute.Int64("baton.attempt", int64(c.attempt))))
	}
}

// finish moves to a final state unless there is one. It returns what is left to do without the
// lock, nil if nothing. It needs the lock.
func (c *call) finish(s State, err error, now time.Time) (settle func()) {
	if c.state.Final() {
		return nil
	}
	from, job := c.state, c.job
	c.err, c.again = err, false
	c.enter(s, now, "")
	if s == Cancelled || s == Failed && !c.begun {
		c.pieces, c.pending = nil, 0
	}
	c.job = receipt{}
	detach, ref, info := c.detach, c.ask.ref, c.info()
	// A handle of this request may still be on its way to a decode worker, which needs the body to have
	// the engines free its blocks. The one that was read is not.
	wanted := c.split && (s != Done || c.attempt > 1 || c.whole)
	c.detach = nil
	c.dequeue(now, reasonOf(err))
	c.poke()
	return func() {
		if detach != nil {
			detach()
		}
		c.r.deps.Receiver.Close(c.stream)
		if from == Queued {
			c.r.drop(job)
		}
		c.r.bodies.retire(c, ref, wanted, now)
		c.record(&info, from)
	}
}

// worker names whoever has the request now. It needs the lock.
func (c *call) worker() string {
	if c.decode.Worker != "" {
		return c.decode.Worker
	}
	return c.prefill.Worker
}

// stop ends the call from outside: the client left, the deadline passed, the router stops.
func (c *call) stop(cause error) {
	err := ended(cause)
	s := Cancelled
	var e *Error
	if errors.As(err, &e) {
		s = Failed
	}
	c.settle(s, err)
}

// settle ends the call unless it has ended.
func (c *call) settle(s State, err error) {
	c.mu.Lock()
	settle := c.finish(s, err, time.Now())
	c.mu.Unlock()
	if settle != nil {
		settle()
	}
}

// poke wakes the waiting goroutine, now or when it comes.
func (c *call) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// hold tells the call how to let go of its context; one that has ended lets go at once.
func (c *call) hold(detach func()) {
	c.mu.Lock()
	final := c.state.Final()
	if !final {
		c.detach = detach
	}
	c.mu.Unlock()
	if final {
		detach()
	}
}

// queuedAt notes where the current attempt's job is; the job of a request that has ended in the
// meantime is dropped.
func (c *call) queuedAt(at receipt, attempt uint32) {
	c.mu.Lock()
	over := c.state.Final() || c.attempt != attempt
	if !over {
		c.job, c.looked, c.missed = at, time.Now(), false
	}
	c.mu.Unlock()
	if over {
		c.r.drop(at)
	}
}

// release counts the request out, once, after its final state.
func (c *call) release() {
	c.released.Do(func() {
		c.r.forget(c)
		c.r.admission.leave(c.req.Class, len(c.req.Body), time.Now())
	})
}

// sub is a duration between two moments, 0 if they are not in order or not known.
func sub(to, from time.Time) time.Duration {
	if to.IsZero() || from.IsZero() {
		return 0
	}
	return min(max(0, to.Sub(from)), math.MaxInt64)
}
