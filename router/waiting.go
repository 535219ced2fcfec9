package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// purgedRetry is when the client of a request that an operator has ended may come again.
const purgedRetry = 5 * time.Second

func purged() *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Type: typeUnavailable, Code: "queue_purged", Reason: "queue_purged",
		Message: "An operator emptied the queue before the request's turn came. Try again.", RetryAfter: purgedRetry,
	}
}

// Waiting answers one message on wire.QueueSubject of this frontend: its requests that wait for a worker, which it
// ends if that is asked for. Their clients hear so at once.
func (r *Router) Waiting(request []byte) ([]byte, error) {
	var ask wire.QueueAsk
	if err := json.Unmarshal(request, &ask); err != nil {
		return nil, fmt.Errorf("read question about the queue: %w", err)
	}
	state, ok := map[wire.Line]State{wire.LinePrefill: Queued, wire.LineDecode: Handed}[ask.Line]
	if !ok {
		return nil, errors.New("want the prefill or the decode queue")
	}
	var answer wire.QueueAnswer
	classes := [...]wire.ClassWaiting{{Class: wire.Interactive}, {Class: wire.Standard}, {Class: wire.Batch}}
	for _, c := range r.inFlight() {
		if ask.Class != nil && *ask.Class != c.req.Class {
			continue
		}
		w, waits := c.waiting(state)
		if !waits {
			continue
		}
		answer.Total++
		answer.Requests = append(answer.Requests, w)
		at := &classes[min(int(w.Class), len(classes)-1)]
		if at.Waiting++; at.Oldest.IsZero() || w.Admitted.Before(at.Oldest) {
			at.Oldest = w.Admitted
		}
		if ask.Purge && c.purge(state) {
			answer.Purged++
		}
	}
	if ask.Purge {
		r.log.Warn("queue purged by an operator", slog.String("queue", string(ask.Line)), slog.Int("requests", answer.Purged))
	}
	answer.Classes = slices.DeleteFunc(classes[:], func(c wire.ClassWaiting) bool { return c.Waiting == 0 })
	slices.SortFunc(answer.Requests, func(a, b wire.Waiting) int { return a.Admitted.Compare(b.Admitted) })
	answer.Requests = answer.Requests[:min(len(answer.Requests), max(0, ask.Most), wire.MostWaiting)]
	return json.Marshal(answer)
}

// waiting describes the call if it is in a state.
func (c *call) waiting(in State) (w wire.Waiting, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.Waiting{
		ID: c.req.ID, Frontend: c.r.name, Model: c.req.Model, Class: c.req.Class, Tenant: c.req.Tenant, Admitted: c.admitted,
		Attempt: int(c.attempt), Tokens: c.ask.promptTokens, MaxTokens: c.ask.maxTokens, Worker: c.next,
	}, c.state == in
}

// purge ends the call if it is still in a state.
func (c *call) purge(in State) bool {
	c.mu.Lock()
	var after func()
	if c.state == in {
		after = c.finish(Failed, purged(), time.Now())
	}
	c.mu.Unlock()
	if after == nil {
		return false
	}
	after()
	return true
}
