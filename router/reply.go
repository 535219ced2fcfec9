package router

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/internal/lend"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"go.opentelemetry.io/otel/trace"
)

// A worker keeps to the relay's window. One that sends this much more is at fault.
const (
	maxPending = 16 << 20 // bytes
	maxPieces  = 1 << 17
)

// Frame takes one frame of one run; see relay.Sink. Frames of another attempt, and of runs that
// were not adopted, have their run cancelled.
func (c *call) Frame(id relay.RunID, f wire.Frame, alone bool) (keep bool) {
	now := time.Now()
	var consumed bool
	var after func()
	c.mu.Lock()
	switch {
	case c.state.Final() || f.Attempt != c.attempt || c.again:
	case f.Kind == wire.Data:
		keep, consumed, after = c.data(id, &f, alone, now)
	default:
		keep, after = c.frame(id, &f, now)
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
	if consumed {
		c.r.deps.Receiver.Consumed(id, f.Seq)
	}
	return keep
}

// frame needs the lock; after is to be called without it.
func (c *call) frame(id relay.RunID, f *wire.Frame, now time.Time) (keep bool, after func()) {
	switch f.Kind {
	case wire.Prefilling:
		return c.prefilling(id, f, now)
	case wire.Handed:
		return c.handedOver(id, f, now)
	case wire.Decoding:
		return c.decoding(id, f, now)
	case wire.End:
		if id != c.decode {
			return false, nil
		}
		// Usage is for the records; the answer is complete without it.
		c.end, _ = wire.ReadEndInfo(f.Payload)
		c.end.PromptTokens, c.end.CompletionTokens, c.end.CachedTokens = c.sent.Total(c.end.PromptTokens, c.end.CompletionTokens, c.end.CachedTokens)
		c.timing.PromptTokens = max(c.timing.PromptTokens, c.end.PromptTokens)
		c.timing.CachedTokens = max(c.timing.CachedTokens, c.end.CachedTokens)
		if !c.req.Streaming && len(c.pieces) > 0 {
			c.begin(now)
		}
		return true, c.finish(Done, nil, now)
	case wire.Fail:
		return c.fail(id, f, now)
	default:
		return false, nil
	}
}

// prefilling adopts a prefill run. A later one of the same attempt comes from a second delivery of
// the job, so the one before it is probably dead; it is not cancelled, for its handle is as good.
func (c *call) prefilling(id relay.RunID, f *wire.Frame, now time.Time) (_ bool, after func()) {
	switch {
	case c.req.Whole || c.whole && c.came:
		return false, nil
	case c.state == Queued:
		c.taken(now)
		c.to(Prefilling, now, id.Worker)
	case c.state == Decoding && c.whole: // given back, and split at the second delivery
		old := c.decode
		after = func() { c.r.deps.Receiver.Cancel(old) }
		c.decode, c.whole, c.timing.Whole = relay.RunID{}, false, false
		c.dropPieces()
		c.to(Prefilling, now, id.Worker)
	case c.state != Prefilling && c.prefill != relay.RunID{}:
		return false, nil // there is a handle already
	}
	c.prefill, c.split = id, true
	c.timing.PrefillWorker = id.Worker
	c.placed(f)
	return true, after
}

// placed reads a dispatcher's decision, and notes it for the records.
func (c *call) placed(f *wire.Frame) wire.Assignment {
	a, err := wire.ReadAssignment(f.Payload)
	if err == nil && a.Place != "" {
		c.timing.Place, c.timing.Why, c.timing.Dispatch = string(a.Place), a.Why, a.Waited
	}
	return a
}

// taken notes that a worker has the request.
func (c *call) taken(now time.Time) {
	if c.timing.Queue == 0 {
		c.timing.Queue = max(1, now.Sub(c.admitted))
		histogram.Observe(c.r.metrics.queue.WithLabelValues(c.req.Class.String()), c.timing.Queue, c.span.SpanContext())
	}
}

func (c *call) handedOver(id relay.RunID, f *wire.Frame, now time.Time) (bool, func()) {
	if c.req.Whole || c.state == Handed {
		return false, nil
	}
	info, _ := wire.ReadHandedInfo(f.Payload) // for the records only
	c.timing.Prefill = info.Prefill
	c.timing.PromptTokens, c.timing.CachedTokens = info.PromptTokens, info.CachedTokens
	other := c.prefill
	c.prefill, c.split = id, true
	c.timing.PrefillWorker = id.Worker
	if c.state != Decoding { // frames of two workers may come in any order
		c.handed, c.next, c.lapse = now, info.DecodeWorker, time.Time{}
		if info.Lease > 0 {
			c.lapse = now.Add(info.Lease + lapseMargin)
		}
		c.to(Handed, now, id.Worker)
		if c.next != "" && !c.r.deps.Fleet.Alive(c.next) { // its death was told before there was a handle
			return true, c.lose(wire.Failure{Reason: wire.EngineDown, Message: fmt.Sprintf("worker %s is gone", c.next)}, now)
		}
	}
	if other == id || other == (relay.RunID{}) {
		return true, nil
	}
	return true, func() { c.r.deps.Receiver.Cancel(other) }
}

// lapseMargin is how much longer than its lease a handle is waited for: a decode worker may be about to
// say that it came too late.
const lapseMargin = time.Second

// decoding adopts the first decode run. Only a run that does all of the request may be followed by
// another one, of a job that was given back: a handle is never read twice.
func (c *call) decoding(id relay.RunID, f *wire.Frame, now time.Time) (bool, func()) {
	old := c.decode
	if old != (relay.RunID{}) && (!c.whole || c.came) {
		return false, nil
	}
	a := c.placed(f)
	c.whole, c.next, c.lapse = a.Place == wire.PlaceWhole, "", time.Time{}
	c.split = c.split || !c.whole
	c.timing.Whole = c.whole
	c.taken(now)
	c.to(Decoding, now, id.Worker)
	c.dropPieces()
	c.decode = id
	c.timing.DecodeWorker = id.Worker
	c.timing.Handover = sub(now, c.handed)
	if old == (relay.RunID{}) {
		return true, nil
	}
	return true, func() { c.r.deps.Receiver.Cancel(old) }
}

// data keeps a piece, which of a stream is some events, until the client takes it. Of an answer that is not streamed the client gets
// nothing before all of it is there: until then it can still be tried again, and the worker goes
// on without waiting for the client. It needs the lock.
func (c *call) data(id relay.RunID, f *wire.Frame, alone bool, now time.Time) (keep, consumed bool, after func()) {
	if id != c.decode {
		return false, false, nil
	}
	most, fault := maxPending, "more than its window"
	if !c.req.Streaming {
		most, fault = c.r.cfg.MaxAnswer, "an answer larger than router.max_answer_bytes"
	}
	if c.pending+len(f.Payload) > most || len(c.pieces) >= maxPieces {
		lost := wire.Failure{Reason: wire.EngineError, Message: fmt.Sprintf("worker %s sent %s", id.Worker, fault)}
		return false, false, c.finish(Failed, failed(lost, 1), now)
	}
	payload := f.Payload
	if c.sent != nil {
		lent := lend.Get()
		defer lend.Put(lent)
		var err error
		*lent, err = c.sent.Events(*lent, f.Payload)
		payload = *lent
		if err != nil {
			lost := wire.Failure{Reason: c.lost.Reason, Message: c.lost.Message + ": " + err.Error()}
			if len(payload) > 0 { // of the events before
				c.add(piece{run: id, seq: f.Seq, data: c.keep(payload)})
			}
			return false, false, c.finish(Failed, failed(lost, c.tries()), now)
		}
	}
	c.came = c.req.Streaming
	switch {
	case len(payload) == 0:
		return true, true, nil
	case !c.req.Streaming:
		c.add(piece{run: id, seq: f.Seq, data: c.keep(payload)})
		return true, true, nil
	case alone && c.parked && c.begun && c.direct != nil && len(c.pieces) == 0:
		consumed = c.write(id, f.Seq, payload)
	default:
		c.add(piece{run: id, seq: f.Seq, data: c.keep(payload)})
		c.poke()
	}
	if !c.begun {
		c.begin(now)
	} else {
		c.gaps.Observe(now.Sub(c.last).Seconds())
	}
	c.last = now
	return true, consumed, nil
}

// write has the client get a payload at once, and tells whether it has. It needs the lock.
func (c *call) write(id relay.RunID, seq uint32, payload []byte) bool {
	took, sent := c.direct(payload)
	switch {
	case sent:
		return true
	case took:
		c.add(piece{run: id, seq: seq})
	default:
		c.add(piece{run: id, seq: seq, data: c.keep(payload)})
	}
	c.poke()
	return false
}

// add needs the lock.
func (c *call) add(p piece) {
	c.pieces = append(c.pieces, p)
	c.pending += len(p.data)
}

// dropPieces drops those of a run that was given back. It needs the lock.
func (c *call) dropPieces() {
	if !c.begun { // else they are of the attempt that this one continues
		c.pieces, c.pending = nil, 0
	}
}

// begin notes that the client can have the first piece, after which another attempt must continue.
func (c *call) begin(now time.Time) {
	c.begun = true
	c.timing.FirstToken = now.Sub(c.admitted)
	if c.req.Streaming { // else all of it came at once
		histogram.Observe(c.r.metrics.ttft.WithLabelValues(c.req.Class.String(), c.req.Model), c.timing.FirstToken, c.span.SpanContext())
	}
	if c.span.IsRecording() {
		c.span.AddEvent("first piece", trace.WithTimestamp(now))
	}
}

// fail takes a Fail frame of an adopted run, or of a run that failed before it could say what it
// is.
func (c *call) fail(id relay.RunID, f *wire.Frame, now time.Time) (bool, func()) {
	ours := id == c.decode
	if c.decode == (relay.RunID{}) {
		ours = id == c.prefill || f.Seq == 0
	}
	if !ours {
		return false, nil
	}
	var why wire.Failure
	if err := json.Unmarshal(f.Payload, &why); err != nil || why.Reason == "" {
		why = wire.Failure{Reason: wire.EngineError, Message: fmt.Sprintf("worker %s failed and did not say why", id.Worker)}
	}
	return true, c.lose(why, now)
}
