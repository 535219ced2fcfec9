package auth

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// bounds are the limits of a tenant; 0 is no bound.
type bounds struct {
	Requests   count `yaml:"requests_per_minute"`
	Tokens     count `yaml:"tokens_per_minute"` // of prompts and answers
	Concurrent count `yaml:"concurrent"`
}

// check says what is wrong with the figures.
func (l bounds) check() error {
	var faults []error
	for _, f := range []struct {
		name string
		n    count
	}{
		{"requests_per_minute", l.Requests}, {"tokens_per_minute", l.Tokens}, {"concurrent", l.Concurrent},
	} {
		if f.n < 0 || f.n > maxLimit {
			faults = append(faults, fmt.Errorf("limits.%s is %d, want 0 (none) to %d", f.name, f.n, maxLimit))
		}
	}
	return errors.Join(faults...)
}

// tenant is the state of the limits of one name. It outlives reloads. It is safe for concurrent use.
type tenant struct {
	name string

	mu       sync.Mutex
	limits   bounds
	requests bucket
	tokens   bucket
	running  int
}

// set changes the limits and keeps what is used of them.
func (t *tenant) set(l bounds, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits = l
	t.requests.resize(int(l.Requests), now)
	t.tokens.resize(int(l.Tokens), now)
}

// enter takes all that a request needs, or nothing.
func (t *tenant) enter(tokens int, now time.Time) (*Lease, error) {
	tokens = max(tokens, 1) // nothing is free
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests.advance(now)
	t.tokens.advance(now)
	if refusal := t.refuse(tokens); refusal != nil {
		refusal.Requests, refusal.Tokens = t.requests.quota(), t.tokens.quota()
		return nil, refusal
	}
	t.requests.take(1)
	t.tokens.take(int64(tokens))
	t.running++
	return &Lease{Requests: t.requests.quota(), Tokens: t.tokens.quota(), tenant: t, charged: tokens}, nil
}

// refuse says why the request does not come in now; mu is held.
func (t *tenant) refuse(tokens int) *Refusal {
	l := t.limits
	switch {
	case l.Tokens > 0 && tokens > int(l.Tokens):
		return &Refusal{Reason: "too_many_tokens", Never: true, text: fmt.Sprintf(
			"The request needs up to %d tokens (its prompt and max_tokens), and %s may use %d a minute: it can never be let in.", tokens, t.name, l.Tokens)}
	case l.Concurrent > 0 && t.running >= int(l.Concurrent):
		return &Refusal{Reason: "concurrent", text: fmt.Sprintf(
			"%s already has %d requests running, as many as it may. Try again when one of them has ended.", t.name, t.running)}
	}
	refusal := &Refusal{
		Reason: "requests_per_minute", RetryAfter: t.requests.wait(1),
		text: fmt.Sprintf("%s may send %d requests a minute.", t.name, l.Requests),
	}
	if wait := t.tokens.wait(int64(tokens)); wait > refusal.RetryAfter {
		refusal.Reason, refusal.RetryAfter = "tokens_per_minute", wait
		refusal.text = fmt.Sprintf("%s may use %d tokens a minute, and this request needs up to %d.", t.name, l.Tokens, tokens)
	}
	if refusal.RetryAfter == 0 {
		return nil
	}
	refusal.text += fmt.Sprintf(" Try again in %v.", refusal.RetryAfter)
	return refusal
}

// Refusal is why a tenant's limits do not let a request in. Its text is for the client.
type Refusal struct {
	Reason string // as a metric label

	// RetryAfter is when the same request comes in if no other does. 0: nobody can tell, as it
	// depends on the end of another.
	RetryAfter time.Duration
	Never      bool // it is larger than the limit

	Requests, Tokens Quota

	text string
}

func (r *Refusal) Error() string { return r.text }

// Lease is one request that was let in.
type Lease struct {
	Requests, Tokens Quota // at that moment

	tenant  *tenant
	charged int // tokens
}

// End counts the request out and settles its charge by the tokens it really used. It is called once.
func (l *Lease) End(tokens int) { l.end(tokens, time.Now()) }

func (l *Lease) end(tokens int, now time.Time) {
	t := l.tenant
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	t.tokens.advance(now)
	t.tokens.take(int64(tokens) - int64(l.charged))
}
