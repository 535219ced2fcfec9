package router

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Refused takes one message on wire.RefuseSubject of this frontend: jobs that a dispatcher has dropped.
func (r *Router) Refused(data []byte) {
	var refusals []wire.Refusal
	if err := json.Unmarshal(data, &refusals); err != nil {
		r.log.Warn("refusals not understood, those requests end by their deadlines", slog.Any("error", err))
		return
	}
	for i := range refusals {
		r.mu.Lock()
		c := r.calls[refusals[i].Stream]
		r.mu.Unlock()
		if c != nil {
			c.refused(&refusals[i])
		}
	}
}

// refused ends the call if its queued job is the one that was dropped.
func (c *call) refused(why *wire.Refusal) {
	now := time.Now()
	c.mu.Lock()
	var after func()
	if c.inQueue(why.Attempt) {
		c.job = receipt{} // is no more
		after = c.finish(Failed, c.r.refusal(why, now), now)
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
}

// inQueue tells whether the job of an attempt is what carries the request. It also is when a worker
// had the job and handed it back: then nobody else has the request, unless there is a handle or a
// part of the answer. It needs the lock.
func (c *call) inQueue(attempt uint32) bool {
	if attempt != c.attempt || c.again {
		return false
	}
	return c.state == Queued || c.state == Prefilling || c.state == Decoding && c.whole && !c.came
}

func (r *Router) refusal(why *wire.Refusal, now time.Time) *Error {
	switch {
	case why.Reason == wire.DeadlineOver:
		return deadlineError()
	case why.RetryAfter <= 0:
		return tooLate(r.admission.retryAfter(now))
	}
	return tooLate(why.RetryAfter)
}
