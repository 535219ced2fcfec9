package lawsim

import (
	"math"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

// Flags are an engine's, as vLLM calls them.
type Flags struct {
	Batch      int // max_num_batched_tokens
	LongPrompt int // long_prefill_token_threshold; 0: none
	Seqs       int // max_num_seqs
}

// sequence is one call of an engine.
type sequence struct {
	prompt, limit int // tokens; limit is of the answer
	doc, docLen   int // prefix that prompts of one document share; docLen 0: none
	pull          func(read func())
	first, done   func()
	token         func(gap time.Duration)
	pinned        bool // the blocks stay when it is done, until release

	computed, produced, planned int
	private                     int  // tokens of KV cache that it holds alone
	holds                       bool // it holds its document's blocks
	cached                      int
	pulled                      bool
	last                        time.Time
}

func (s *sequence) known() int { return s.prompt + s.produced }

type document struct {
	tokens, refs int
	filled       bool
	used         time.Time
}

// engine computes as vLLM does: running answers first, then chunked prompts within the token budget,
// which also bounds whether a KV cache may be pulled.
type engine struct {
	*clock
	model     enginesim.Model
	flags     Flags
	free      int
	docs      map[int]*document
	waiting   []*sequence
	running   []*sequence
	pulling   int
	stepping  bool
	dead      bool
	parts     []enginesim.Part
	preempted int
	gaps      float64 // decayed sum of the gaps between tokens
	weight    float64 // and of their number
	gapsAt    time.Time
}

func newEngine(c *clock, m enginesim.Model, f Flags) *engine {
	return &engine{clock: c, model: m, flags: f, free: m.KVTokens(), docs: map[int]*document{}}
}

func (e *engine) submit(s *sequence) {
	e.waiting = append(e.waiting, s)
	e.kick()
}

func (e *engine) kick() {
	if e.stepping || e.dead {
		return
	}
	work := e.plan()
	if !work { // it may have preempted all there was
		work = e.plan()
	}
	if !work {
		return
	}
	e.stepping = true
	e.after(e.model.Step(e.parts), func() {
		e.stepping = false
		if !e.dead {
			e.apply()
			e.kick()
		}
	})
}

func (e *engine) plan() bool {
	budget := e.flags.Batch
	preempted := e.preempted
	for i := 0; i < len(e.running) && budget > 0; i++ {
		if s := e.running[i]; s.known()-s.computed == 1 {
			if !e.grow(s) {
				break
			}
			s.planned = 1
			budget--
		}
	}
	for _, s := range e.running {
		if s.planned == 0 {
			budget -= e.chunk(s, budget)
		}
	}
	for preempted == e.preempted && budget > 0 && len(e.waiting) > 0 && len(e.running)+e.pulling < e.flags.Seqs && e.admit(e.waiting[0]) {
		s := e.waiting[0]
		e.waiting = e.waiting[1:]
		if s.pull != nil && !s.pulled {
			e.pulling++
			s.pull(func() {
				if e.dead {
					return
				}
				e.pulling--
				s.pulled, s.computed = true, s.prompt-1
				e.fill(s)
				e.running = append(e.running, s)
				e.kick()
			})
			continue
		}
		e.running = append(e.running, s)
		budget -= e.chunk(s, budget)
	}
	e.parts = e.parts[:0]
	for _, s := range e.running {
		if s.planned > 0 {
			e.parts = append(e.parts, enginesim.Part{Computed: s.computed, New: s.planned})
		}
	}
	return len(e.parts) > 0
}

func (e *engine) chunk(s *sequence, budget int) int {
	s.planned = min(s.known()-s.computed, budget)
	if e.flags.LongPrompt > 0 {
		s.planned = min(s.planned, e.flags.LongPrompt)
	}
	return s.planned
}

// admit reserves blocks for all that is known of a sequence.
func (e *engine) admit(s *sequence) bool {
	d := e.docs[s.doc]
	use := s.docLen > 0 && d != nil && d.filled
	need := s.known()
	if use {
		need -= d.tokens
		d.refs++ // safe from eviction
	}
	if !e.evict(need) {
		if use {
			d.refs--
		}
		return false
	}
	s.private = need
	s.computed, s.cached = 0, 0
	if use {
		s.holds, s.computed, s.cached = true, d.tokens, d.tokens
		d.used = e.now
	} else if s.docLen > 0 && d == nil {
		e.docs[s.doc] = &document{tokens: s.docLen, refs: 1, used: e.now}
		s.holds, s.private = true, need-s.docLen
	}
	e.free -= need
	return true
}

// evict drops cached documents until n tokens are free.
func (e *engine) evict(n int) bool {
	for e.free < n {
		oldest := -1
		for id, d := range e.docs {
			if d.refs == 0 && (oldest < 0 || d.used.Before(e.docs[oldest].used) || d.used.Equal(e.docs[oldest].used) && id < oldest) {
				oldest = id
			}
		}
		if oldest < 0 {
			return false
		}
		e.free += e.docs[oldest].tokens
		delete(e.docs, oldest)
	}
	return true
}

func (e *engine) grow(s *sequence) bool {
	for !e.evict(1) {
		last := e.running[len(e.running)-1]
		e.preempted++
		e.running = e.running[:len(e.running)-1]
		e.release(last)
		last.computed, last.planned = 0, 0
		e.waiting = slices.Insert(e.waiting, 0, last)
		if last == s {
			return false
		}
	}
	e.free--
	s.private++
	return true
}

// fill makes a document's blocks findable once they are computed.
func (e *engine) fill(s *sequence) {
	if s.holds && s.computed >= s.docLen {
		e.docs[s.doc].filled = true
	}
}

func (e *engine) release(s *sequence) {
	e.free += s.private
	s.private = 0
	if s.holds {
		s.holds = false
		d := e.docs[s.doc]
		if d.refs--; d.refs == 0 && !d.filled {
			e.free += d.tokens
			delete(e.docs, s.doc)
		}
	}
}

func (e *engine) apply() {
	var over []*sequence
	for _, s := range e.running {
		if s.planned == 0 {
			continue
		}
		s.computed += s.planned
		s.planned = 0
		e.fill(s)
		if s.computed < s.known() {
			continue
		}
		s.produced++
		if s.produced == 1 {
			s.first()
		} else if gap := e.now.Sub(s.last); s.token != nil {
			s.token(gap)
			e.observe(gap)
		}
		s.last = e.now
		if s.produced == s.limit {
			over = append(over, s)
		}
	}
	e.running = slices.DeleteFunc(e.running, func(s *sequence) bool { return s.produced == s.limit })
	for _, s := range over {
		if !s.pinned {
			e.release(s)
		}
		s.done()
	}
}

func (e *engine) observe(gap time.Duration) {
	e.decay()
	e.gaps += gap.Seconds()
	e.weight++
}

func (e *engine) decay() {
	keep := math.Exp(-e.now.Sub(e.gapsAt).Seconds())
	e.gaps, e.weight, e.gapsAt = e.gaps*keep, e.weight*keep, e.now
}

// itl is what a worker reports of the gaps: their mean over about a second.
func (e *engine) itl() time.Duration {
	e.decay()
	if e.weight < 0.1 {
		return 0
	}
	return time.Duration(e.gaps / e.weight * float64(time.Second))
}
