package supervise

import (
	"math/rand/v2"
	"time"
)

// backoff gives the pauses between restarts: twice as long each time, up to most, and a random part of
// up to a half shorter, so that engines which ended together do not start together.
type backoff struct {
	first, most time.Duration
	next        time.Duration // 0: first
}

func (b *backoff) pause() time.Duration {
	d := max(b.next, b.first)
	b.next = min(2*d, b.most)
	return d - rand.N(d/2+1)
}

func (b *backoff) reset() { b.next = 0 }
