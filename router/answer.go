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
type Answer struct {
	c     *call
	taken []piece // from the call, all that there were at once; for the one goroutine that reads
	read  int     // how many of them Next has returned
}

// Next returns the next blocks of SSE events of a streaming answer, as they are to be written, or the next piece of a
// unary one, and io.EOF after the last. If the answer broke off, the error is an *Error after what came, or
// the cause of Do's context if that ended. The slice is the caller's,
// of a stream until the next call. A ctx that ends ends only the
// wait, but for one that ends while an answer that broke off is queued again, to be continued.
func (a *Answer) Next(ctx context.Context) ([]byte, error) {
	c := a.c
	for {
		if a.read < len(a.taken) {
			return a.shift(), nil
		}
		c.mu.Lock()
		a.taken, a.read = c.take(a.taken), 0
		if c.req.Streaming && len(a.taken) == 0 {
			c.slab = c.slab[:0] // nobody has a piece of it any more
		}
		state, err, again, attempt := c.state, c.err, c.again, c.attempt
		c.parked = len(a.taken) == 0 && !state.Final() && !again
		c.mu.Unlock()
		switch {
		case len(a.taken) > 0:
			continue
		case state == Done:
			return nil, io.EOF
		case state.Final():
			return nil, err
		case again && c.pause(attempt):
			c.publish(ctx)
			continue
		}
		if ctx.Done() == c.left { // whose end wakes, too: a smaller wait for what most of them are
			<-c.wake
			continue
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			c.unpark()
			return nil, context.Cause(ctx)
		}
	}
}

// Writer writes a piece of a stream without blocking, and says whether it took it, and whether the client has it.
type Writer = func(piece []byte) (took, sent bool)

// Direct has pieces of a stream written by whoever brings them while Next waits, which saves the waking of its goroutine.
// In place of a piece that write took and could not send, Next returns an empty one. write is called while Next waits,
// and never after that.
func (a *Answer) Direct(write Writer) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	a.c.direct = write
}

// unpark notes that nobody waits any more.
func (c *call) unpark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parked = false
}

// shift returns the first of the taken pieces. The worker may send more once the last one of a run is on its way to
// the client.
func (a *Answer) shift() []byte {
	p := a.taken[a.read]
	a.taken[a.read] = piece{}
	a.read++
	if p.run != (relay.RunID{}) && (a.read == len(a.taken) || a.taken[a.read].run != p.run) {
		a.c.r.deps.Receiver.Consumed(p.run, p.seq)
	}
	return p.data
}

// More tells whether Next would return at once with a piece or the end of a whole answer: whoever writes pieces need not
// send each of them by itself. Before an error it is false: what came is sent first.
func (a *Answer) More() bool {
	if a.read < len(a.taken) {
		return true
	}
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	return len(a.c.pieces) > 0 || a.c.state == Done
}

// take returns all pieces and keeps the memory of those that were read for the next ones. It needs the lock.
func (c *call) take(read []piece) []piece {
	all := c.pieces
	c.pieces, c.pending = read[:0], 0
	return all
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
