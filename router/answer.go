package router

import (
	"context"
	"io"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
)

// Timing is where a request's time went, as far as it has come; 0 means not yet, or not at all.
type Timing struct {
	Queue      time.Duration // admission to the first worker
	Prefill    time.Duration // the prefill engine's call
	Handover   time.Duration // handle in the queue to the decode worker
	FirstToken time.Duration // admission to the first piece of the answer

	PrefillWorker string
	DecodeWorker  string
	Attempts      int
	PromptTokens  int
	CachedTokens  int
	Whole         bool // one engine did all of it

	Place    string        // the dispatcher's decision: wire.Place
	Why      string        // the rule behind it
	Dispatch time.Duration // admission to the decision
}

// Answer is the answer to one request. One goroutine reads it and must Close it; the other methods
// are safe for concurrent use.
type Answer struct{ c *call }

// Next returns the next SSE event's data of a streaming answer, or the next piece of a unary one,
// and io.EOF after the last. If the answer broke off, the error is an *Error after what came, or
// the cause of Do's context if that ended. The slice is the caller's. A ctx that ends ends only the
// wait, but for one that ends while an answer that broke off is queued again, to be continued.
func (a *Answer) Next(ctx context.Context) ([]byte, error) {
	c := a.c
	for {
		c.mu.Lock()
		p, ok := c.take()
		state, err, again, attempt := c.state, c.err, c.again, c.attempt
		c.mu.Unlock()
		switch {
		case ok:
			if p.run != (relay.RunID{}) {
				c.r.deps.Receiver.Consumed(p.run, p.seq)
			}
			return p.data, nil
		case state == Done:
			return nil, io.EOF
		case state.Final():
			return nil, err
		case again && c.pause(attempt):
			c.publish(ctx)
			continue
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take needs the lock.
func (c *call) take() (piece, bool) {
	if len(c.pieces) == 0 {
		return piece{}, false
	}
	p := c.pieces[0]
	c.pieces[0] = piece{}
	c.pieces = c.pieces[1:]
	c.pending -= len(p.data)
	return p, true
}

// Timing returns the durations so far.
func (a *Answer) Timing() Timing {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	return a.c.timing
}

// Usage returns what the engine counted; it is complete after io.EOF.
func (a *Answer) Usage() wire.EndInfo {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	return a.c.end
}

// Close cancels what is not finished and counts the request out. It may be called more than once.
func (a *Answer) Close() {
	a.c.settle(Cancelled, errClosed)
	a.c.release()
}
