package schedule

import (
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Why a job was placed as it was, as words for logs and metrics.
const (
	whyShort      = "short"      // whole on a decode worker: little to compute
	whySplit      = "split"      // prefill and decode on two workers
	whyLend       = wire.WhyLend // whole on a decode worker that has time for it
	whyKeep       = wire.WhyKeep // whole on a prefill worker: no decode worker can take it, or not in time
	whyWhole      = "whole"      // whole: it must not be split, or there are not two workers to split it over
	whyAggregated = "aggregated" // whole: that is the mode
)

// Why a job waits.
const (
	waitNoWorker = "no_worker" // none is ready
	waitKV       = "kv_full"   // no room in KV caches, or no free slot
	waitWindow   = "window"    // enough prompts are ahead at every worker
	waitSLO      = "slo_hold"  // another prompt would slow running answers down too much
	waitLink     = "link"      // KV caches queue in front of every link
)

var waitReasons = [...]string{waitNoWorker, waitKV, waitWindow, waitSLO, waitLink}

const (
	// calm is the part of the promised time per token that running answers may take before another
	// long prompt is computed beside them.
	calm = 0.95
	// patience is how long the first jobs of the queue are passed by later ones that fit. Then room
	// is kept for them.
	patience = 5 * time.Second
	// margin is what an estimate of a first token may be wrong by.
	margin = 50 * time.Millisecond
)

// choice is where a job goes.
type choice struct {
	run    *worker
	decode *worker // nil: whole
	why    string
}

// place says where a job goes, or why it must wait.
func (s *Scheduler) place(e *entry, now time.Time) (choice, string) {
	if len(s.ready) == 0 {
		return choice{}, waitNoWorker
	}
	a := s.ask(e, now)
	switch {
	case s.cfg.Mode == Aggregated:
		return s.anywhere(&a, whyAggregated)
	case !s.splits:
		return s.anywhere(&a, whyWhole)
	}
	if w := s.shortPlace(&a); w != nil {
		return choice{run: w, why: whyShort}, ""
	}
	switch {
	case e.job.Whole:
		return s.undivided(&a)
	case s.cfg.Mode == Split:
		return s.split(&a, s.prefillers)
	}
	return s.elastic(&a)
}

// elastic splits where that is possible, and else has the job done whole where that does no harm.
func (s *Scheduler) elastic(a *ask) (choice, string) {
	c, wait := s.split(a, s.pure)
	if wait == "" {
		return c, ""
	}
	if w := s.lender(a); w != nil {
		return choice{run: w, why: whyLend}, ""
	}
	if len(s.pure) < len(s.prefillers) {
		if c, still := s.split(a, s.prefillers); still == "" {
			return c, ""
		}
	}
	if w := s.keeper(a, wait); w != nil {
		return choice{run: w, why: whyKeep}, ""
	}
	return choice{}, wait
}

// anywhere places a job whole on the worker that has the least to compute before the answer begins.
func (s *Scheduler) anywhere(a *ask, why string) (choice, string) {
	w := a.best(s.ready, func(w *worker) bool {
		return s.windowFree(w, a.now) && a.fits(w, a.need, s.cfg.KVHigh) && a.inTime(w, 0)
	}, a.ahead)
	if w != nil {
		return choice{run: w, why: why}, ""
	}
	if slices.ContainsFunc(s.ready, func(w *worker) bool { return s.windowFree(w, a.now) }) {
		return choice{}, waitKV
	}
	return choice{}, waitWindow
}

// shortPlace is the decode worker that computes a short prompt beside its answers; nil if there is
// none or the prompt is not short. Short prompts have a window of their own: engines compute them
// beside a long one.
func (s *Scheduler) shortPlace(a *ask) *worker {
	return a.best(s.decoders, func(w *worker) bool {
		return w.shortTokens < s.cfg.PrefillWindow && a.fits(w, a.need, s.cfg.KVHigh) && a.work(w) <= s.cfg.ShortPrompt
	}, a.ahead)
}

// split finds a prefill worker and, with room for all of it, a decode worker.
func (s *Scheduler) split(a *ask, prefillers []*worker) (best choice, wait string) {
	wait = waitWindow
	var least int
	for _, p := range prefillers {
		switch {
		case !s.windowFree(p, a.now):
			continue
		case !a.fits(p, a.tokens, s.cfg.KVHigh):
			wait = waitKV
			continue
		case !s.calmAt(p, a.now):
			wait = waitSLO
			continue
		case !a.inTime(p, s.learned.handoverTime()):
			continue
		}
		linked := true
		d := a.best(s.decoders, func(d *worker) bool {
			if d == p || !a.fits(d, a.need, s.cfg.KVHigh) {
				return false
			}
			linked = !s.link(p.ID, d.ID).backedUp()
			return linked
		}, func(*worker) int { return 0 })
		if d == nil {
			wait = waitKV
			if !linked {
				wait = waitLink
			}
			p.starve(a.now)
			continue
		}
		if cost := a.ahead(p); best.run == nil || cost < least {
			best, least = choice{run: p, decode: d, why: whySplit}, cost
		}
	}
	if best.run != nil {
		wait = ""
	}
	return best, wait
}

// lender is a decode worker that computes a long prompt beside its answers, one at a time; where
// links are too slow to keep it busy, as many as any worker.
func (s *Scheduler) lender(a *ask) *worker {
	return a.best(s.decoders, func(w *worker) bool {
		free := w.longs == 0 || w.backlog(a.now) < overlap || s.slowLinks(w) && w.backlog(a.now) < s.cfg.PrefillWindow
		return free && s.calmAt(w, a.now) && a.fits(w, a.need, s.cfg.KVLow) && a.inTime(w, 0)
	}, a.work)
}

// keeper is a prefill worker that computes the answer, too: because the split came to nothing for
// some time, or would be too late. One that keeps answers must go slower from then on, so a short
// want of decode workers is waited out.
func (s *Scheduler) keeper(a *ask, wait string) *worker {
	hasty := a.late || !a.due.IsZero()
	if !hasty && wait != waitKV && wait != waitLink {
		return nil
	}
	return a.best(s.prefillers, func(w *worker) bool {
		return (hasty || w.decoding > 0 || w.starving(a.now)) && s.windowFree(w, a.now) && s.calmAt(w, a.now) &&
			a.fits(w, a.need, s.cfg.KVHigh) && a.inTime(w, 0)
	}, a.ahead)
}

// undivided places a job that must not be split on a decode worker, or on a prefill worker if no
// decode worker has room. When it has waited for too long, the promised pace does not count.
func (s *Scheduler) undivided(a *ask) (choice, string) {
	if w := s.lender(a); w != nil {
		return choice{run: w, why: whyWhole}, ""
	}
	wait := waitWindow
	switch {
	case !slices.ContainsFunc(s.decoders, func(w *worker) bool { return a.fits(w, a.need, s.cfg.KVHigh) }):
		wait = waitKV
	case slices.ContainsFunc(s.decoders, func(w *worker) bool { return w.longs == 0 }):
		wait = waitSLO
	}
	if w := s.keeper(a, wait); w != nil {
		return choice{run: w, why: whyWhole}, ""
	}
	if a.late {
		if c, still := s.anywhere(a, whyWhole); still == "" {
			return c, ""
		}
	}
	return choice{}, wait
}

// claim keeps the room of one worker free for a job that others have passed for too long.
func (s *Scheduler) claim(e *entry) {
	of := s.ready
	if s.splits && s.cfg.Mode != Aggregated {
		of = s.decoders
	}
	best := s.workers[e.claim]
	if best == nil || !slices.Contains(of, best) {
		best = nil
		for _, w := range of {
			if w.claimed == nil && (best == nil || w.load() < best.load()) {
				best = w
			}
		}
	}
	if best != nil && best.claimed == nil {
		e.claim, best.claimed = best.ID, e
	}
}

// muster sorts the workers that take work by what they can do.
func (s *Scheduler) muster() {
	s.ready, s.prefillers, s.pure, s.decoders = s.ready[:0], s.prefillers[:0], s.pure[:0], s.decoders[:0]
	for _, w := range s.byID {
		w.claimed = nil
		if !w.Ready || w.Leaving {
			continue
		}
		s.ready = append(s.ready, w)
		if w.Role != wire.RoleDecode {
			s.prefillers = append(s.prefillers, w)
		}
		if w.Role == wire.RolePrefill {
			s.pure = append(s.pure, w)
		} else {
			s.decoders = append(s.decoders, w)
		}
	}
	s.splits = len(s.prefillers) > 0 && len(s.decoders) > 0 && len(s.ready) > 1
}
