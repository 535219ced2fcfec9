package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
)

const (
	// mostTries bounds the tries of a request, also those that Config.Attempts does not count.
	mostTries = 64
	// progress is how many events of a stream a try must bring its client to be a good one, although it broke off.
	progress = 16
)

// lose ends the current attempt: with another one if that may end differently and can continue what the
// client has of the answer, else with the request. It needs the lock; what it returns is to be called
// without.
func (c *call) lose(why wire.Failure, now time.Time) func() {
	if c.begun && c.complete() {
		return c.finish(Done, nil, now)
	}
	if c.sent.Seen() >= progress {
		c.failures = 0
	}
	if counts(why.Reason) {
		c.failures++
	}
	if !why.Reason.Retryable() || c.begun && !c.sent.Able() || c.failures >= c.r.cfg.Attempts || c.tries() >= mostTries {
		return c.finish(Failed, failed(why, c.tries()), now)
	}
	return c.tryAgain(why, now)
}

// counts tells whether a failure can be the request's own doing: some prompts may end whatever engine they come to, and
// must not come to all. What happens to jobs, bodies and messages on their way is not.
func counts(why wire.Reason) bool {
	switch why {
	case wire.BodyGone, wire.WorkerStopping, wire.JobLost, wire.RunLost, wire.HandleUsed:
		return false
	case wire.EngineRejected, wire.EngineError, wire.EngineDown, wire.EngineTimeout, wire.NoHandle, wire.HandleExpired,
		wire.HandleMismatch, wire.DeadlineOver, wire.TooLate:
	}
	return true
}

// tries is how many attempts some worker may have had. It needs the lock.
func (c *call) tries() int { return int(c.attempt) - c.unborn }

// tryAgain has the next attempt follow the current one, which ended so. It needs the lock; what it returns is to be
// called without.
func (c *call) tryAgain(why wire.Failure, now time.Time) func() {
	old, ref := c.job, ""
	c.blame(why)
	if why.Reason == wire.BodyGone { // with the bucket, perhaps: it is to be stored again
		ref, c.ask.ref = c.ask.ref, ""
	}
	c.dequeue(now, string(why.Reason))
	stray := []relay.RunID{c.prefill, c.decode}
	c.attempt++ // fences off what still comes of the one before
	c.lost, c.again, c.job = why, true, receipt{}
	c.prefill, c.decode, c.handed = relay.RunID{}, relay.RunID{}, time.Time{}
	c.whole, c.next, c.lapse = false, "", time.Time{}
	c.came = false
	c.dropPieces()
	c.timing.Attempts = c.tries()
	c.to(Queued, now, "")
	c.poke()
	return func() {
		c.r.metrics.retries.WithLabelValues(string(why.Reason)).Inc()
		for _, run := range stray {
			if run != (relay.RunID{}) {
				c.r.deps.Receiver.Cancel(run)
			}
		}
		switch why.Reason { //nolint:exhaustive // After others the job's worker says that it is done.
		case wire.EngineDown, wire.RunLost:
			c.r.drop(old)
		case wire.JobLost: // a dispatcher may hold it; in the queue its number may be another job's by now
			c.r.drop(receipt{key: old.key, model: old.model})
		}
		c.r.dropBody(ref)
	}
}

// blame notes who had the attempt that failed, so that the next one goes to others: one engine may fail at once
// whatever it is asked, and would use all attempts up. Of a hand-over either side may be at fault. It needs the lock.
func (c *call) blame(why wire.Failure) {
	switch why.Reason { //nolint:exhaustive // The others say nothing of an engine.
	case wire.EngineDown, wire.EngineError, wire.EngineTimeout, wire.NoHandle:
	default:
		return
	}
	had := []string{c.prefill.Worker, c.decode.Worker}
	if c.decode.Worker != "" && why.Reason == wire.EngineDown {
		had = had[1:] // the engine that died is the one that decoded
	}
	for _, w := range had {
		if w != "" {
			c.avoid = append(slices.DeleteFunc(c.avoid, func(id string) bool { return id == w }), w)
		}
	}
}

// complete tells whether only the end of a stream was lost, and makes that up. It needs the lock.
func (c *call) complete() bool {
	event, ok := c.sent.Complete()
	if ok {
		c.end.PromptTokens, c.end.CompletionTokens = c.sent.Counts()
	}
	if event != nil {
		c.pieces = append(c.pieces, piece{data: event})
		c.pending += len(event)
	}
	return ok
}

// gone takes the news that a worker died.
func (c *call) gone(worker string) {
	c.mu.Lock()
	var after func()
	adopted := c.state == Prefilling && c.prefill.Worker == worker || c.state == Decoding && c.decode.Worker == worker ||
		c.state == Handed && c.next == worker
	if adopted {
		after = c.lose(wire.Failure{Reason: wire.EngineDown, Message: fmt.Sprintf("worker %s is gone", worker)}, time.Now())
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
}

// Lost takes the news that a worker has a run no more: this process was cut off from it for longer than it keeps what is
// not acknowledged. See relay.Sink.
func (c *call) Lost(id relay.RunID) {
	c.mu.Lock()
	var after func()
	if !c.state.Final() && !c.again && (c.state == Prefilling && c.prefill == id || c.state == Decoding && c.decode == id) {
		after = c.lose(wire.Failure{Reason: wire.RunLost, Message: fmt.Sprintf("worker %s has the request no more", id.Worker)}, time.Now())
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
}

// lapsed tries again if no decode worker has taken the handle within its lease. Whoever takes it later
// refuses it.
func (c *call) lapsed(now time.Time) {
	c.mu.Lock()
	var after func()
	if c.state == Handed && !c.lapse.IsZero() && now.After(c.lapse) {
		after = c.lose(wire.Failure{Reason: wire.HandleExpired, Message: "no decode worker took the handle within its lease"}, now)
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
}

// backoff is the pause before an attempt, from the second on: doubling, with ±50 % so that
// requests that failed together do not come back together.
func (c *Config) backoff(attempt uint32) time.Duration {
	pause := c.Backoff
	for range attempt - 2 {
		pause = min(2*pause, c.MaxBackoff)
	}
	return min(pause/2+rand.N(pause+1), c.MaxBackoff)
}
