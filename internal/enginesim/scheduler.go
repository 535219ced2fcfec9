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
	if e.faults.Hang || e.faults.Crash {
		return 0, false
	}
	b, preempted := e.fill()
	if b.tokens == 0 && preempted { // what ran gave its blocks back, so something may start
		b, _ = e.fill()
	}
	if b.tokens == 0 {
		return 0, false
	}
	took := e.scaled(e.profile.duration(b))
	if e.faults.Slow > 0 {
		took = time.Duration(float64(took) * e.faults.Slow)
	}
	e.count.Iterations++
	return took, true
}

// fill plans decodes first, then prompts that run, then new ones.
func (e *Engine) fill() (b batch, preempted bool) {
	budget := e.cfg.MaxBatchTokens
	for i := 0; i < len(e.running) && budget > 0; i++ {
		s := e.running[i]
		if s.known()-s.computed != 1 {
			continue
		}
		before := len(e.running)
		got := e.grow(s)
		preempted = preempted || len(e.running) < before
		if !got {
			break // s was the last one and gave way itself
		}
		s.planned = 1
		budget--
	}
	for _, s := range e.running {
		if s.planned == 0 {
			budget -= e.planPrompt(s, budget)
		}
	}
	if !preempted {
		e.admit(budget)
	}
	for _, s := range e.running {
		if s.planned > 0 {
			b.add(s.computed, s.planned)
		}
	}
	return b, preempted
}

// planPrompt plans the next part of a prompt within the budget and returns its tokens.
func (e *Engine) planPrompt(s *sequence, budget int) int {
	n := min(s.known()-s.computed, budget)
	if e.cfg.LongPrefillThreshold > 0 {
		n = min(n, e.cfg.LongPrefillThreshold)
	}
	s.planned = n
	return n
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

// admit starts waiting sequences in order, while there are tokens, places and blocks.
func (e *Engine) admit(budget int) {
	for budget > 0 && len(e.waiting) > 0 && len(e.running)+len(e.pulling) < e.cfg.MaxSeqs {
		s := e.waiting[0]
		cached := e.pool.cached(s.hashes)
		if most := (s.known() - 1) / e.cfg.BlockSize; len(cached) > most {
			cached = cached[:most] // at least one token must be computed
		}
		blocks, ok := e.pool.reserve(cached, e.blocksFor(s.known()), s.prompt.digest)
		if !ok {
			return
		}
		e.leave(s)
		s.blocks, s.computed = blocks, len(cached)*e.cfg.BlockSize
		if s.produced == 0 {
			e.count.PrefixQueries += s.prompt.tokens
			e.count.PrefixHits += s.computed
			s.cached = s.computed
		}
		if s.remote != nil && s.digest == "" {
			s.place = pulling
			e.pulling = append(e.pulling, s)
			e.startPull(s)
			continue
		}
		s.place = running
		e.running = append(e.running, s)
		budget -= e.planPrompt(s, budget)
	}
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
