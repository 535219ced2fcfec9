package schedule

import (
	"slices"
	"time"
)

// ask is one job in search of a place.
type ask struct {
	*entry

	now    time.Time
	tokens int  // of the prompt
	need   int  // tokens of KV cache, with the answer
	late   bool // others passed it for too long
	avoid  []string
}

func (s *Scheduler) ask(e *entry, now time.Time) ask {
	tokens := s.learned.prompt(e.job)
	a := ask{entry: e, now: now, tokens: tokens, need: tokens + s.learned.room(e.job, s.cfg.AssumedTokens)}
	a.late = !e.looked.IsZero() && now.Sub(e.looked) >= patience
	if len(e.job.Avoid) > 0 && !a.late {
		a.avoid = slices.Concat(e.avoidable(s.prefillers), e.avoidable(s.decoders))
	}
	return a
}

// avoidable are the workers among ws that the job avoids: as long as there is another one all that failed it, else
// the one that did so last.
func (e *entry) avoidable(ws []*worker) (avoid []string) {
	for _, id := range e.job.Avoid {
		if slices.ContainsFunc(ws, func(w *worker) bool { return w.ID == id }) {
			avoid = append(avoid, id)
		}
	}
	switch {
	case len(avoid) < len(ws):
		return avoid
	case len(ws) > 1:
		return avoid[len(avoid)-1:]
	}
	return nil
}

// cached is how many tokens of the prompt the worker's cache holds, and how many of them another
// job there holds, too. At least one token is always computed.
func (a *ask) cached(w *worker) (cached, held int) {
	c, h := w.prefixes.match(a.job.Prefix)
	part := func(n int) int { return min(a.tokens-1, int(w.prefixes.trust*float64(n))) }
	return part(c), part(h)
}

// work is how many tokens the worker would have to compute.
func (a *ask) work(w *worker) int {
	cached, _ := a.cached(w)
	return a.tokens - cached
}

// ahead is how many tokens the worker would compute until the first token.
func (a *ask) ahead(w *worker) int { return w.backlog(a.now) + a.work(w) }

// inTime reports whether the first token would come before it is due, if it takes more time than
// the worker's computing.
func (a *ask) inTime(w *worker, more time.Duration) bool {
	if a.due.IsZero() || w.pace() == 0 {
		return true
	}
	took := time.Duration(float64(a.ahead(w)) * w.pace() * float64(time.Second))
	return !a.now.Add(took + more + margin).After(a.due)
}

// fits reports whether the job need not avoid the worker, and it has a slot, and room for need tokens within a part of its KV
// cache. A worker that has nothing takes anything, else what is larger than all would never run.
func (a *ask) fits(w *worker, need int, part float64) bool {
	if w.claimed != nil && w.claimed != a.entry || w.Slots > 0 && w.busy() >= w.Slots || slices.Contains(a.avoid, w.ID) {
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

// best is the worker of least cost, and of those the least loaded; nil if none is ok.
func (a *ask) best(ws []*worker, ok func(*worker) bool, cost func(*worker) int) *worker {
	var best *worker
	var least int
	for _, w := range ws {
		if !ok(w) {
			continue
		}
		c := cost(w)
		if best == nil || c < least || c == least && w.load() < best.load() {
			best, least = w, c
		}
	}
	return best
}
