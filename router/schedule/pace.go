package schedule

import (
	"slices"
	"time"
)

const (
	// overlap is how many tokens may be left of a prompt when the next is sent, so that the engine
	// does not stand still between them: about one iteration.
	overlap = 512
	// paceMemory is the part of an engine's past that each prompt leaves in its pace.
	paceMemory = 0.9
	// starveFor is how long a prefill worker waits for a decode worker before it keeps a job.
	starveFor = time.Second
)

// learnPace takes the time of a prompt's first token.
func (w *worker) learnPace(l *leg, now time.Time) {
	w.computed = paceMemory*w.computed + float64(l.work())
	w.seconds = paceMemory*w.seconds + now.Sub(w.begun(l)).Seconds()
	w.firstAt = now
}

// pace is how many seconds the engine takes for one token of a prompt, of late; 0: not known.
func (w *worker) pace() float64 {
	if w.computed == 0 {
		return 0
	}
	return w.seconds / w.computed
}

// begun is when the engine began with a prompt that is or was the first in its line.
func (w *worker) begun(l *leg) time.Time {
	if l.sent.Before(w.firstAt) {
		return w.firstAt
	}
	return l.sent
}

// backlog is how many tokens of prompts the engine has yet to compute. The first prompt in its line
// counts less the longer it is under way, as far as prompts took their time there before.
func (w *worker) backlog(now time.Time) int {
	all := w.longTokens + w.shortTokens
	if len(w.prompts) == 0 || w.seconds == 0 {
		return all
	}
	head := w.prompts[0]
	done := now.Sub(w.begun(head)).Seconds() / w.pace()
	return all - int(min(max(0, done), float64(head.work())))
}

// passed takes a leg out of the prompts that wait.
func (w *worker) passed(l *leg) {
	if at := slices.Index(w.prompts, l); at >= 0 {
		w.prompts = slices.Delete(w.prompts, at, at+1)
	}
}

// windowFree reports whether the worker may get another prompt.
func (s *Scheduler) windowFree(w *worker, now time.Time) bool {
	return w.longTokens+w.shortTokens < s.cfg.PrefillWindow || w.backlog(now) < overlap
}

// calmAt reports whether running answers at the worker bear a long prompt beside them. The word of
// their pace counts while it is fresh.
func (s *Scheduler) calmAt(w *worker, now time.Time) bool {
	switch {
	case w.decoding == 0:
		return true
	case now.Before(w.heldUntil):
		return false
	}
	return now.Sub(w.itlAt) > itlLasts || float64(w.itl) <= calm*float64(s.cfg.SLO.TPOT)
}

// starve notes that a prefill worker has time for a prompt, and there is no decode worker for it.
func (w *worker) starve(now time.Time) {
	if now.Sub(w.starvedAt) > starveFor {
		w.starvedFrom = now
	}
	w.starvedAt = now
}

// starving reports whether that has lasted for too long.
func (w *worker) starving(now time.Time) bool {
	return w.starvedAt.Equal(now) && now.Sub(w.starvedFrom) >= starveFor
}

// load compares workers that could all take a job; less is better.
func (w *worker) load() float64 {
	const many = 256 // sequences, at an engine that does not say how many it takes
	switch {
	case w.Capacity > 0:
		return float64(w.used()) / float64(w.Capacity)
	case w.Slots > 0:
		return float64(w.busy()) / float64(w.Slots)
	}
	return float64(w.busy()) / many
}
