package schedule

import (
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Why a job was placed as it was, as words for logs and metrics.
const (
	whyShort      = "short"      // whole on a decode worker: little to compute
	whySplit      = "split"      //
	whyLend       = "lend"       // whole on a decode worker that has time for it
	whyKeep       = "keep"       // whole on a prefill worker: no decode worker can take it
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

// calm is the part of the promised time per token that may be used before a long prompt is computed
// beside running answers.
var calm = 0.95

// patience is how long the first jobs of the queue are passed by later ones that fit. Then room is
// kept for them.
const patience = 5 * time.Second

// choice is where a job could go.
type choice struct {
	run    *worker
	decode *worker // nil: whole
	why    string
}

// ask is one job in search of a place.
type ask struct {
	*entry
	tokens int // of the prompt
	need   int // tokens of KV cache, with the answer
	block  int // tokens of one block of the prefix
	late   bool
}

func (s *Scheduler) ask(e *entry, now time.Time) ask {
	tokens := s.learned.prompt(e.job)
	a := ask{entry: e, tokens: tokens, need: tokens + s.learned.room(e.job, s.cfg.AssumedTokens)}
	if n := len(e.job.Prefix); n > 0 {
		a.block = max(1, tokens/n)
	}
	a.late = !e.looked.IsZero() && now.Sub(e.looked) >= patience
	return a
}

// cached is how many tokens of the prompt the worker's cache holds, and how many of them another
// job there holds, too. At least one token is always computed.
func (a *ask) cached(w *worker) (cached, held int) {
	c, h := w.prefixes.match(a.job.Prefix)
	part := func(n int) int { return min(a.tokens-1, int(w.prefixes.trust*float64(n*a.block))) }
	return part(c), part(h)
}

// work is how many tokens the worker would have to compute.
func (a *ask) work(w *worker) int {
	cached, _ := a.cached(w)
	return a.tokens - cached
}

// fits reports whether the worker has a slot, and room for need tokens within a part of its KV
// cache. A worker that has nothing takes anything, else what is larger than all would never run.
func (a *ask) fits(w *worker, need int, part float64) bool {
	if w.claimed != nil && w.claimed != a.entry || w.Slots > 0 && w.busy() >= w.Slots {
		return false
	}
	used := w.used()
	if w.Capacity == 0 || used == 0 {
		return true
	}
	limit := int(part * float64(w.Capacity))
	if used+need <= limit {
		return true
	}
	_, held := a.cached(w)
	return used+need-held <= limit
}

// load compares workers that could all take a job; less is better.
func (a *ask) load(w *worker) float64 {
	if w.Capacity > 0 {
		return float64(w.used()) / float64(w.Capacity)
	}
	const many = 256 // sequences, at an engine that does not say how many it takes
	if w.Slots > 0 {
		return float64(w.busy()) / float64(w.Slots)
	}
	return float64(w.busy()) / many
}

// inTime reports whether the first token of a prompt would come before it is due.
func (s *Scheduler) inTime(a *ask, w *worker, more time.Duration, now time.Time) bool {
	if a.due.IsZero() || w.seconds == 0 {
		return true
	}
	took := time.Duration(float64(w.backlog(now)+a.work(w)) * w.seconds / w.computed * float64(time.Second))
	return !now.Add(took + more + Margin).After(a.due)
}

var Margin = 50 * time.Millisecond

// windowFree reports whether the worker may get another long prompt.
func (s *Scheduler) windowFree(w *worker, now time.Time) bool {
	return w.longs+w.shorts == 0 || w.longTokens+w.shortTokens < s.cfg.PrefillWindow || w.backlog(now) < Ahead
}

// nearlyIdle
func (w *worker) nearlyIdle(now time.Time) bool {
	return w.longs == 0 || w.backlog(now) < Ahead
}

var Ahead = 512

// calmAt reports whether running answers at the worker bear a long prompt beside them.
func (s *Scheduler) calmAt(w *worker, now time.Time) bool {
	if w.decoding == 0 {
		return true
	}
	if w.Role == wire.RolePrefill && Tau > 0 {
		return w.meanN == 0 || w.meanT/w.meanN <= PCalm * s.cfg.SLO.TPOT.Seconds()
	}
	if w.Role == wire.RolePrefill { return float64(w.itl) <= PCalm*float64(s.cfg.SLO.TPOT) }
	if now.Before(w.heldUntil) {
		return false
	}
	return now.Sub(w.itlAt) > itlLasts || float64(w.itl) <= calm*float64(s.cfg.SLO.TPOT)
}

// best is the worker of least cost, and of those the least loaded; nil if none is ok.
func (a *ask) best(ws []*worker, ok func(*worker) bool, cost func(*worker) int) *worker {
	var best *worker
	var least int
	for _, w := range ws {
		if !ok(w) {
			continue
		}
		c := cost(w)
		if best == nil || c < least || c == least && a.load(w) < a.load(best) {
			best, least = w, c
		}
	}
	return best
}

// place says where a job goes, or why it must wait.
func (s *Scheduler) place(e *entry, now time.Time) (choice, string) {
	if len(s.ready) == 0 {
		return choice{}, waitNoWorker
	}
	a := s.ask(e, now)
	switch {
	case s.cfg.Mode == Aggregated:
		return s.anywhere(&a, now, whyAggregated)
	case !s.splits:
		return s.anywhere(&a, now, whyWhole)
	}
	if w := s.shortPlace(&a); w != nil {
		return choice{run: w, why: whyShort}, ""
	}
	if e.job.Whole {
		return s.undivided(&a, now)
	}
	prefillers := s.prefillers
	if s.cfg.Mode == Elastic {
		prefillers = s.pure
	}
	isLate := !e.late.IsZero() && e.due.IsZero()
	var c choice
	wait := waitWindow
	if KeepFirst > 0 && !a.due.IsZero() {
		if KeepFirst == 2 {
		if w := s.lender(&a, now, false); w != nil {
			return choice{run: w, why: whyLend}, ""
		}
		}
		if w := s.keeper(&a, now); w != nil {
			return choice{run: w, why: whyKeep}, ""
		}
	}
	if !(isLate && Late == 2) {
		c, wait = s.split(&a, prefillers, now)
	}
	if wait == "" || s.cfg.Mode == Split {
		return c, wait
	}
	if isLate && Late == 1 {
		return choice{}, wait
	}
	if w := s.lender(&a, now, wait == waitLink); w != nil {
		return choice{run: w, why: whyLend}, ""
	}
	if len(s.pure) < len(s.prefillers) {
		if c, also := s.split(&a, s.prefillers, now); also == "" {
			return c, ""
		}
	}
	if wait == waitKV || wait == waitLink || Keep && !a.due.IsZero() {
		KeepNow = KeepCalm
		if w := s.keeper(&a, now); w != nil {
			return choice{run: w, why: whyKeep}, ""
		}
	}
	return choice{}, wait
}

// anywhere places a job whole on any worker: that with the least to compute before the answer
// begins.
func (s *Scheduler) anywhere(a *ask, now time.Time, why string) (choice, string) {
	w := a.best(s.ready, func(w *worker) bool {
		return s.windowFree(w, now) && a.fits(w, a.need, s.cfg.KVHigh) && s.inTime(a, w, 0, now)
	},
		func(w *worker) int { return w.backlog(now) + a.work(w) })
	if w != nil {
		return choice{run: w, why: why}, ""
	}
	if slices.ContainsFunc(s.ready, func(w *worker) bool { return s.windowFree(w, now) }) {
		return choice{}, waitKV
	}
	return choice{}, waitWindow
}

// shortPlace is the decode worker that computes a short prompt beside its answers; nil if there is
// none or the prompt is not short.
func (s *Scheduler) shortPlace(a *ask) *worker {
	return a.best(s.decoders, func(w *worker) bool {
		return (w.shorts == 0 || w.shortTokens < s.cfg.PrefillWindow) && a.fits(w, a.need, s.cfg.KVHigh) && a.work(w) <= s.cfg.ShortPrompt
	}, func(w *worker) int { return w.longTokens + w.shortTokens + a.work(w) })
}

// split finds a prefill worker and, with room for all of it, a decode worker.
func (s *Scheduler) split(a *ask, prefillers []*worker, now time.Time) (choice, string) {
	wait := waitWindow
	var best choice
	var least int
	for _, p := range prefillers {
		if !s.windowFree(p, now) {
			continue
		}
		if !a.fits(p, a.tokens, s.cfg.KVHigh) {
			wait = waitKV
			continue
		}
		if !s.calmAt(p, now) {
			wait = waitSLO
			continue
		}
		if !s.inTime(a, p, s.learned.handoverTime(), now) {
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
		if d == nil && linked {
			wait = waitKV
		} else if d == nil {
			wait = waitLink
		} else if cost := p.backlog(now) + a.work(p); best.run == nil || cost < least {
			best, least = choice{run: p, decode: d, why: whySplit}, cost
		}
	}
	if best.run == nil {
		return choice{}, wait
	}
	return best, ""
}

// lender is a decode worker that computes a long prompt besides its answers, one at a time.
func (s *Scheduler) lender(a *ask, now time.Time, more bool) *worker {
	return a.best(s.decoders, func(w *worker) bool {
		return (w.nearlyIdle(now) || s.slowLinks(w) && s.windowFree(w, now)) && s.calmAt(w, now) && a.fits(w, a.need, s.cfg.KVLow) && s.inTime(a, w, 0, now)
	}, a.work)
}

// keeper is a prefill worker that computes the answer, too.
func (s *Scheduler) keeper(a *ask, now time.Time) *worker {
	return a.best(s.prefillers, func(w *worker) bool {
		return s.windowFree(w, now) && s.calmAt(w, now) && (w.decoding == 0 || float64(w.itl) <= KeepCalm*float64(s.cfg.SLO.TPOT)) && a.fits(w, a.need, s.cfg.KVHigh) && s.inTime(a, w, 0, now)
	}, func(w *worker) int { return w.backlog(now) + a.work(w) })
}

// undivided places a job that must not be split on a decode worker, or on a prefill worker if no
// decode worker has room. When it has waited for too long, the promised pace does not count.
func (s *Scheduler) undivided(a *ask, now time.Time) (choice, string) {
	if w := s.lender(a, now, false); w != nil {
		return choice{run: w, why: whyWhole}, ""
	}
	room := slices.ContainsFunc(s.decoders, func(w *worker) bool { return a.fits(w, a.need, s.cfg.KVHigh) })
	if !room || a.late {
		if w := s.keeper(a, now); w != nil {
			return choice{run: w, why: whyWhole}, ""
		}
	}
	if a.late {
		if c, wait := s.anywhere(a, now, whyWhole); wait == "" {
			return c, ""
		}
	}
	switch {
	case !room:
		return choice{}, waitKV
	case slices.ContainsFunc(s.decoders, func(w *worker) bool { return w.nearlyIdle(now) }):
		return choice{}, waitSLO
	}
	return choice{}, waitWindow
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
		a := ask{entry: e}
		for _, w := range of {
			if w.claimed == nil && (best == nil || a.load(w) < a.load(best)) {
				best = w
			}
		}
	}
	if best != nil && best.claimed == nil {
		e.claim, best.claimed = best.ID, e
	}
}

// fleet sorts the workers that take work by what they can do.
func (s *Scheduler) muster() {
	s.ready, s.prefillers, s.pure, s.decoders = s.ready[:0], s.prefillers[:0], s.pure[:0], s.decoders[:0]
	for _, w := range s.byID {
		w.claimed = nil
		if !w.Ready || w.Leaving {
			continue
		}
		s.ready = append(s.ready, w)
		if w.Role == wire.RolePrefill || w.Role == wire.RoleBoth {
			s.prefillers = append(s.prefillers, w)
		}
		if w.Role == wire.RolePrefill {
			s.pure = append(s.pure, w)
		}
		if w.Role == wire.RoleDecode || w.Role == wire.RoleBoth {
			s.decoders = append(s.decoders, w)
		}
	}
	s.splits = len(s.prefillers) > 0 && len(s.decoders) > 0 && len(s.ready) > 1
}

func (s *Scheduler) slowLinks(d *worker) bool {
	for _, p := range s.prefillers {
		if p != d && !s.link(p.ID, d.ID).backedUp() {
			return false
		}
	}
	return true
}

var Keep = true

var Late = 0

var KeepCalm, KeepNow = 0.95, 0.95

var KeepFirst = 0
var PCalm = 0.95
