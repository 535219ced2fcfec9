package enginesim

import (
	"context"
	"slices"
	"time"
)

// maxLag is how far the scheduler makes up for a late timer; beyond, the lost time stays lost.
const maxLag = 50 * time.Millisecond

// kick wakes the scheduler. The caller need not hold e.mu.
func (e *Engine) kick() {
	notify(e.wake)
}

// notify leaves an element in a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// schedule runs iterations while there is work, until ctx ends.
func (e *Engine) schedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	due := time.Now() // end of the last iteration, as the model has it
	for idle := true; ctx.Err() == nil; {
		took, work := e.plan()
		if !work {
			idle = true
			select {
			case <-e.wake:
			case <-ctx.Done():
			}
			continue
		}
		now := time.Now()
		if idle || now.Sub(due) > maxLag {
			due = now
		}
		idle = false
		due = due.Add(took)
		if wait := due.Sub(now); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		e.apply()
	}
}

// plan chooses the tokens of the next iteration and returns its real duration.
func (e *Engine) plan() (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.faults.Hang || e.faults.Freeze || e.faults.down() {
		return 0, false
	}
	b, preempted := e.fill()
	if b.tokens() == 0 && preempted { // what ran gave its blocks back, so something may start
		b, _ = e.fill()
	}
	if b.tokens() == 0 {
		return 0, false
	}
	took := e.scaled(e.cfg.duration(e.profile, b))
	if e.faults.Slow > 0 {
		took = time.Duration(float64(took) * e.faults.Slow)
	}
	e.count.Iterations++
	return took, true
}

// fill plans as vLLM does: one budget for what runs, in the order of admission, then for what waits.
// So a prompt that is admitted before a sequence may leave no token for it.
func (e *Engine) fill() (b batch, preempted bool) {
	budget, most := e.cfg.MaxBatchTokens, e.longestPart()
	for i := 0; i < len(e.running) && budget > 0; i++ {
		s, before := e.running[i], len(e.running)
		got := e.grow(s)
		preempted = preempted || len(e.running) < before
		if !got {
			break // s was the last one and gave way itself
		}
		budget -= s.plan(budget, most)
	}
	if !preempted {
		e.admit(budget, most)
	}
	for _, s := range e.running {
		if s.planned > 0 {
			b.add(s.computed, s.planned)
		}
	}
	return b, preempted
}

// longestPart is the most tokens of one prompt in an iteration. A prompt that is alone starves
// nobody and may have them all.
func (e *Engine) longestPart() int {
	if e.cfg.LongPrefillThreshold > 0 && len(e.waiting)+len(e.pulling)+len(e.ready)+len(e.running) > 1 {
		return e.cfg.LongPrefillThreshold
	}
	return e.cfg.MaxBatchTokens
}

// grow makes room for the sequence's next token; the latest sequences give way and start again
// later. It fails where that is s itself.
func (e *Engine) grow(s *sequence) bool {
	for len(s.blocks) < e.blocksFor(s.known()) {
		if id, ok := e.pool.alloc(s.digest); ok {
			s.blocks = append(s.blocks, id)
			continue
		}
		last := e.running[len(e.running)-1]
		e.preempt(last)
		if last == s {
			return false
		}
	}
	return true
}

// preempt takes a sequence's blocks; it will compute its prompt and answer again.
func (e *Engine) preempt(s *sequence) {
	e.count.Preemptions++
	e.leave(s)
	e.pool.release(s.blocks)
	s.place, s.blocks, s.computed, s.planned = waiting, nil, 0, 0
	e.waiting = slices.Insert(e.waiting, 0, s)
}

// admit starts sequences while there are tokens, places and blocks: those whose KV cache has come
// from another engine, then those that wait, in order. A read of such a KV cache costs no tokens,
// but it too begins only while some are left: an engine whose prompts use up every iteration
// takes nothing over.
func (e *Engine) admit(budget, most int) {
	for budget > 0 && len(e.ready) > 0 && len(e.running) < e.cfg.MaxSeqs {
		budget -= e.run(e.ready[0], budget, most)
	}
	for budget > 0 && len(e.waiting) > 0 && len(e.running) < e.cfg.MaxSeqs {
		s := e.waiting[0]
		if !e.hold(s) {
			return
		}
		if s.remote != nil && s.digest == "" {
			e.move(s, pulling)
			e.startPull(s)
			continue
		}
		budget -= e.run(s, budget, most)
	}
}

// run makes s the last of those that run and returns the tokens planned for it.
func (e *Engine) run(s *sequence, budget, most int) int {
	e.move(s, running)
	return s.plan(budget, most)
}

// hold takes the blocks of all tokens that s has so far, or none and false.
func (e *Engine) hold(s *sequence) bool {
	cached := e.pool.cached(s.hashes)
	if most := (s.known() - 1) / e.cfg.BlockSize; len(cached) > most {
		cached = cached[:most] // at least one token must be computed
	}
	blocks, ok := e.pool.reserve(cached, e.blocksFor(s.known()), s.prompt.digest)
	if !ok {
		return false
	}
	s.blocks, s.computed = blocks, len(cached)*e.cfg.BlockSize
	if s.produced == 0 {
		e.count.PrefixQueries += s.prompt.tokens
		e.count.PrefixHits += s.computed
		s.cached, s.found = s.computed, s.computed
	}
	return true
}

// apply does what the iteration has computed.
func (e *Engine) apply() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, s := range slices.Clone(e.running) {
		if s.planned == 0 {
			continue
		}
		from := s.computed
		s.computed += s.planned
		s.planned = 0
		e.fillBlocks(s, from)
		if s.computed < s.known() {
			continue
		}
		e.produce(s, now)
	}
}

// fillBlocks makes the prompt's blocks that were completed since from tokens were computed
// findable for others.
func (e *Engine) fillBlocks(s *sequence, from int) {
	end := min(s.computed/e.cfg.BlockSize, len(s.hashes))
	for i := from / e.cfg.BlockSize; i < end; i++ {
		e.pool.fill(s.blocks[i], s.hashes[i])
	}
}

// produce adds a token to the answer, and ends it with the last one.
func (e *Engine) produce(s *sequence, now time.Time) {
	if s.produced < s.limit {
		s.produced++
		e.metrics.token(s, now)
		s.lastSeen = now
		e.count.Generated++
	}
	if s.produced < s.limit {
		s.job.signal()
		return
	}
	reason := "stop"
	if s.limit >= s.params.maxTokens {
		reason = "length"
	}
	e.end(s, ending{reason: reason})
}

func (e *Engine) blocksFor(tokens int) int {
	return (tokens + e.cfg.BlockSize - 1) / e.cfg.BlockSize
}

// scaled turns simulated time into real time.
func (e *Engine) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / e.cfg.TimeScale)
}
