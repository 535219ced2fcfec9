package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Causes of a run's end and errors of Send.
var (
	ErrCancelled    = errors.New("the frontend cancelled the run")
	ErrFrontendGone = errors.New("the frontend acknowledges nothing")
	ErrClosed       = errors.New("the run is closed")
	ErrTooLarge     = errors.New("frame payload is too large")
)

// Run is the sending side of one execution of one job. One goroutine at a time may call its
// Send methods; everything else is safe at any time.
type Run struct {
	s       *Sender
	id      uint64
	request wire.Request
	subject string
	ctx     context.Context //nolint:containedctx // the run is a lifetime; its context is its API
	cancel  context.CancelCauseFunc
	space   chan struct{} // 1 slot: the window may have opened
	near    *Receiver     // of a frontend in this process; nil: it is in another

	mu         sync.Mutex
	frames     []sentFrame // from seq consumed to next-1
	slab       []byte      // where the next small frames are encoded
	consumed   uint32      // frames that reached the client
	received   uint32      // frames that the frontend has
	next       uint32      // seq of the next frame
	unconsumed int         // bytes of Data in frames
	stopped    error       // ErrCancelled, ErrFrontendGone or ErrClosed: nothing more is sent
	flowing    bool        // the last frame was Data: the next one is not the first
	final      time.Time   // when the final frame was sent; zero: not yet
	released   bool        // Close was called
	heard      time.Time   // last word of the frontend, or when waiting for one began
	probeAt    time.Time
	probeEvery time.Duration
}

type sentFrame struct {
	encoded []byte // nil: received, and not the last
	size    int    // bytes that count against the window
}

// ID is the run's number, unique within its worker.
func (r *Run) ID() uint64 { return r.id }

// Context ends with the context given to Open, with cause ErrCancelled or ErrFrontendGone when
// nobody wants the answer any more, and some time after the run is over.
func (r *Run) Context() context.Context { return r.ctx }

// Send copies payload into the run's next frame. Data waits while the window is full, until ctx
// or the run's context ends (then the error is the cause); other kinds never wait, so a run can
// still fail when its context is over. After a final kind the run is closed and Send returns
// ErrClosed; the frames are kept until the frontend has them or Config.Linger is over.
func (r *Run) Send(ctx context.Context, kind wire.Kind, payload []byte) error {
	return r.send(ctx, kind, payload, true)
}

// SendAhead is Send of a frame that another follows at once: a frontend in this process has its client get both together.
func (r *Run) SendAhead(ctx context.Context, kind wire.Kind, payload []byte) error {
	return r.send(ctx, kind, payload, false)
}

func (r *Run) send(ctx context.Context, kind wire.Kind, payload []byte, alone bool) error {
	if len(payload) > r.s.cfg.MaxPayload {
		return fmt.Errorf("send %s of %d bytes, at most %d: %w", kind, len(payload), r.s.cfg.MaxPayload, ErrTooLarge)
	}
	size := 0
	if kind == wire.Data {
		size = len(payload)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.stopped != nil {
			return r.stopped
		}
		if !r.final.IsZero() {
			return ErrClosed
		}
		if size == 0 || r.unconsumed == 0 || r.unconsumed+size <= r.s.cfg.Window {
			break
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
	f := wire.Frame{Run: r.id, Stream: r.request.Stream, Attempt: r.request.Attempt, Seq: r.next, Kind: kind, Payload: payload}
	now := time.Now()
	received, consumed := r.hand(&f, alone, now)
	if !r.waiting() { // the frontend owes nothing until now
		r.heard = now
		r.rearm(now)
	}
	r.s.metrics.sent.Inc()
	r.next++
	if kind.Final() {
		r.final = now
	}
	if consumed {
		r.received = r.next
		r.consume(r.next)
		return nil
	}
	if n := len(r.frames); n > 0 && r.received == f.Seq {
		r.frames[n-1].encoded = nil // was kept only to probe with
	}
	if received { // it is kept only to probe with, for which any frame of this number does
		f.Payload = nil
	}
	encoded := r.encode(&f)
	r.frames = append(r.frames, sentFrame{encoded: encoded, size: size})
	r.unconsumed += size
	if received {
		r.received = r.next
		return nil
	}
	r.s.out.add(r.subject, encoded, kind != wire.Data || !r.flowing) // if dropped, the probe sends it
	r.flowing = kind == wire.Data
	return nil
}

// hand gives a frame to a frontend in this process, after all that came before it. It needs the lock.
func (r *Run) hand(f *wire.Frame, alone bool, now time.Time) (received, consumed bool) {
	if r.near == nil || r.received != r.next {
		return false, false
	}
	return r.near.deliver(r.s.worker, f, alone, now)
}

// consume lets go of the frames below seq, which reached the client. It needs the lock.
func (r *Run) consume(seq uint32) {
	n := min(int(seq-r.consumed), len(r.frames))
	for _, f := range r.frames[:n] {
		r.unconsumed -= f.size
	}
	clear(r.frames[:n])
	r.frames = r.frames[n:]
	r.consumed = seq
}

// Small frames share memory, of which ever more is taken at once: they are acknowledged, and let go of, in their order.
const (
	firstSlab = 512
	lastSlab  = 4 << 10
)

// largePortion is where a larger frame costs hardly less for a byte.
const largePortion = 32 << 10

// Portion is how many bytes of Data one frame has at most, where they can be divided: several fit into the window.
func (r *Run) Portion() int {
	return min(largePortion, r.s.cfg.MaxPayload, max(1, r.s.cfg.Window/4))
}

// encode returns the bytes of a frame. It needs the lock.
func (r *Run) encode(f *wire.Frame) []byte {
	most := len(f.Payload) + wire.FrameOverhead
	if most > lastSlab/4 {
		return wire.AppendFrame(make([]byte, 0, most), f)
	}
	if most > cap(r.slab)-len(r.slab) {
		r.slab = make([]byte, 0, max(most, firstSlab, min(2*cap(r.slab), lastSlab)))
	}
	from := len(r.slab)
	r.slab = wire.AppendFrame(r.slab, f)
	return r.slab[from:len(r.slab):len(r.slab)]
}

// wait unlocks the run until the window may have opened.
func (r *Run) wait(ctx context.Context) error {
	r.mu.Unlock()
	defer r.mu.Lock()
	select {
	case <-r.space:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// Close ends the run and releases its context. Without a final frame before, what was sent and
// not received is forgotten; with one, its delivery goes on. More calls do nothing.
func (r *Run) Close() {
	r.mu.Lock()
	r.released = true
	over := r.final.IsZero() || r.received == r.next
	if over && r.stopped == nil {
		r.stopped = ErrClosed
	}
	r.mu.Unlock()
	r.cancel(nil)
	if over {
		r.s.forget(r)
	}
}

// waiting tells whether the frontend owes an answer: it has not received, or its client has not
// read, everything.
func (r *Run) waiting() bool { return r.received < r.next || (r.unconsumed > 0 && r.final.IsZero()) }

func (r *Run) rearm(now time.Time) {
	r.probeEvery = r.s.cfg.Probe
	r.probeAt = now.Add(r.probeEvery)
}

// ack takes what an Ack or Resend says, or that the frontend lives if it is an Ask, and tells whether the run is over by it.
func (r *Run) ack(c wire.Control, now time.Time) (over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = now
	if c.Kind == wire.Ask {
		return false
	}
	if c.Received > r.next || c.Consumed > c.Received {
		return false // not of this run; never trust it further
	}
	if c.Received > r.received {
		for i := r.received; i < c.Received; i++ {
			if i+1 < r.next {
				r.frames[i-r.consumed].encoded = nil
			}
		}
		r.received = c.Received
		r.rearm(now)
	}
	if c.Kind == wire.Ack && c.Consumed > r.consumed {
		r.consume(c.Consumed)
		r.rearm(now)
		select {
		case r.space <- struct{}{}:
		default:
		}
	}
	if c.Kind == wire.Resend {
		r.resend(now)
	}
	return r.over(now)
}

// over tells whether the run needs no more care.
func (r *Run) over(now time.Time) bool {
	if r.final.IsZero() {
		return r.stopped != nil
	}
	return r.received == r.next && (r.released || now.Sub(r.final) >= r.s.cfg.Linger)
}

// resend queues what the frontend lacks, or, if it lacks nothing, the last frame, which it will
// acknowledge as a duplicate.
func (r *Run) resend(now time.Time) {
	from := r.received
	if from == r.next {
		from--
	}
	for i := max(from, r.consumed); i < r.next; i++ {
		if r.s.out.add(r.subject, r.frames[i-r.consumed].encoded, true) {
			r.s.metrics.resent.Inc()
		}
	}
	r.probeAt = now.Add(r.probeEvery)
}

// tick probes a silent frontend and gives it up in time; over means that the run needs no more
// care.
func (r *Run) tick(now time.Time) (over bool) {
	r.mu.Lock()
	if r.over(now) {
		r.mu.Unlock()
		return true
	}
	if !r.waiting() || r.stopped != nil {
		r.mu.Unlock()
		return false
	}
	limit := r.s.cfg.GiveUp
	if !r.final.IsZero() {
		limit = min(limit, r.s.cfg.Linger)
	}
	if now.Sub(r.heard) >= limit {
		r.mu.Unlock()
		r.stop(ErrFrontendGone, byFrontendGone)
		return true
	}
	if !now.Before(r.probeAt) {
		r.resend(now)
		r.probeEvery = min(2*r.probeEvery, r.s.cfg.ProbeMax)
		r.probeAt = now.Add(r.probeEvery)
	}
	r.mu.Unlock()
	return false
}

// stop ends the run for cause.
func (r *Run) stop(cause error, by string) {
	r.mu.Lock()
	counted := r.stopped == nil && r.final.IsZero()
	if r.stopped == nil {
		r.stopped = cause
	}
	r.frames, r.slab, r.unconsumed, r.consumed, r.received = nil, nil, 0, r.next, r.next
	r.mu.Unlock()
	if counted {
		r.s.metrics.cancelled.WithLabelValues(by).Inc()
	}
	r.cancel(cause)
}
