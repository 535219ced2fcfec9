package enginesim

import "time"

// link is one direction of an engine's network. Transfers go through it in turn, each with the
// whole bandwidth. It belongs to Engine.mu.
type link struct {
	free time.Time // when the last transfer is through
}

// take queues a transfer and returns the time from now to its end.
func (l *link) take(now time.Time, took time.Duration) time.Duration {
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(took)
	return l.free.Sub(now)
}

// linkTime is how long so many bytes alone take through a link, in real time.
func (e *Engine) linkTime(bytes int) time.Duration {
	if e.cfg.TransferGBps == 0 {
		return 0
	}
	seconds := float64(bytes) / (e.cfg.TransferGBps * 1e9)
	return e.scaled(time.Duration(seconds * float64(time.Second)))
}

// arrival is the real time until a KV cache of so many bytes is here, which its owner has sent
// after the time sent: it goes out there and comes in here at once, and then takes the hand-over.
func (e *Engine) arrival(bytes int, sent time.Duration) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(sent, e.in.take(time.Now(), e.linkTime(bytes))) + e.scaled(e.cfg.HandoverLatency)
}
