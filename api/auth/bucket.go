package auth

import "time"

const (
	// maxLimit keeps the arithmetic of a bucket within int64, its longest debt included.
	maxLimit = 1_000_000_000

	// maxDebt is how many times its limit a bucket can be overdrawn, so also how many minutes a
	// tenant can be shut out by requests that cost more than was known when they were let in.
	maxDebt = 60

	// parts is what one of a bucket's tokens consists of: each microsecond, a bucket gains as many
	// parts as it may lose tokens in a minute. All arithmetic is whole and exact.
	parts = int64(time.Minute / time.Microsecond)
)

// bucket is a token bucket that holds at most what may be taken in a minute, and can be overdrawn
// and refilled: a request's true cost is known at its end. (golang.org/x/time/rate can neither take
// more than a bucket holds nor give back, and rounds.) The zero bucket bounds nothing.
type bucket struct {
	limit int64     // tokens that come back in a minute, and the most it holds; 0: no bound
	level int64     // parts; below 0: overdrawn
	at    time.Time // of level
}

func (b *bucket) full() int64 { return b.limit * parts }

// resize keeps what was taken. A bound that is new begins with a full bucket.
func (b *bucket) resize(limit int, now time.Time) {
	b.advance(now)
	taken := b.full() - b.level
	b.limit = int64(limit)
	b.level = b.full() - taken
	b.take(0)
}

// advance adds what has come back until now.
func (b *bucket) advance(now time.Time) {
	if b.at.IsZero() {
		b.at = now
	}
	passed := now.Sub(b.at).Microseconds()
	if passed <= 0 {
		return
	}
	b.at = b.at.Add(time.Duration(passed) * time.Microsecond) // the rest of a microsecond counts next time
	if passed >= b.until(b.full()) {
		b.level = b.full()
		return
	}
	b.level += passed * b.limit
}

// until is the number of microseconds after which the level is reached, at most full.
func (b *bucket) until(level int64) int64 {
	if b.limit == 0 || level <= b.level {
		return 0
	}
	return (level - b.level + b.limit - 1) / b.limit
}

// wait is the time until so many tokens, at most limit, can be taken.
func (b *bucket) wait(tokens int64) time.Duration {
	return time.Duration(b.until(tokens*parts)) * time.Microsecond
}

// take takes tokens, or gives them back if there are less than none.
func (b *bucket) take(tokens int64) {
	most := (maxDebt + 1) * b.limit
	tokens = max(-most, min(tokens, most))
	b.level = max(-maxDebt*b.full(), min(b.level-tokens*parts, b.full()))
}

// Quota is the state of one limit.
type Quota struct {
	Limit     int // a minute; 0: there is no such limit
	Remaining int
	Reset     time.Duration // until all of it is there again
}

func (b *bucket) quota() Quota {
	return Quota{
		Limit: int(b.limit), Remaining: int(max(0, b.level) / parts),
		Reset: time.Duration(b.until(b.full())) * time.Microsecond,
	}
}
