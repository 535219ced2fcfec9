package schedule

import "time"

const (
	// linkWait is the longest queue in front of a link that another KV cache may join.
	linkWait = 3300 * time.Millisecond
	// linkMemory is the part of a link's past that each new transfer leaves.
	linkMemory = 0.8
)

// link is the way of KV caches from one prefill worker to one decode worker. A transfer runs from
// the handle's issue to the prefill worker's word that it is consumed.
type link struct {
	tokens  int           // that are on their way
	handles int           //
	done    time.Time     // end of the last transfer
	moved   float64       // tokens that arrived back to back with others, of late
	seconds float64       // that they took
	transit time.Duration // of the last transfer, with the wait for those before it
}

type pair struct{ prefill, decode string }

func (s *Scheduler) link(prefill, decode string) *link {
	k := pair{prefill, decode}
	if s.links[k] == nil {
		s.links[k] = &link{}
	}
	return s.links[k]
}

func (l *link) start(tokens int) {
	l.tokens += tokens
	l.handles++
}

// stop ends a transfer, for whatever reason.
func (l *link) stop(tokens int) {
	l.tokens -= tokens
	l.handles--
}

// arrived measures a transfer that began at handed. Only one that waited for another tells how fast
// the link is; the time of one that did not is mostly its preparation.
func (l *link) arrived(tokens int, handed, now time.Time) {
	if handed.Before(l.done) {
		l.moved = linkMemory*l.moved + float64(tokens)
		l.seconds = linkMemory*l.seconds + now.Sub(l.done).Seconds()
	}
	l.done, l.transit = now, now.Sub(handed)
}

// backedUp reports whether another KV cache would have to wait for too long.
func (l *link) backedUp() bool {
	if l.handles == 0 || l.moved == 0 || l.transit <= linkWait {
		return false
	}
	return float64(l.tokens)/l.moved*l.seconds > linkWait.Seconds()
}

// slow reports whether the link moves less than the prefill worker computes.
func (l *link) slow(prefill *worker) bool {
	return l.moved > 0 && l.transit > linkWait && l.moved*prefill.seconds < prefill.computed*l.seconds
}

// slowLinks reports whether no prefill worker can keep a decode worker busy.
func (s *Scheduler) slowLinks(d *worker) bool {
	for _, p := range s.prefillers {
		if p != d && !s.link(p.ID, d.ID).slow(p) {
			return false
		}
	}
	return true
}
