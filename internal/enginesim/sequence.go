package enginesim

import (
	"slices"
	"time"
)

// sequence is one prompt on its way to one answer. The fields of the first group never change;
// the others belong to Engine.mu.
type sequence struct {
	job       *job
	prompt    prompt
	hashes    []uint64 // of the prompt's whole blocks
	choice    int
	params    sampling
	remote    *remoteRead   // the KV cache comes from another engine; nil: computed here
	pinUnder  string        // the KV cache then waits for a reader under this id; "": it does not
	submitted time.Time     // in real time
	stop      chan struct{} // closed when the sequence ends; ends a pull

	place    place
	digest   string  // of the prompt as the KV cache has it; "" until a pull brought it
	script   *script // the answer to that prompt
	blocks   []int32
	computed int // tokens whose keys and values are in blocks
	produced int // tokens of the answer
	limit    int // produced at the end
	planned  int // tokens that the running iteration computes
	cached   int // prompt tokens that were in the prefix cache, of the engine that prefilled
	found    int // prompt tokens that were in the prefix cache of this engine
	external int // prompt tokens that came from another engine
	handle   *handle
	lastSeen time.Time // when the last token came
	ending   ending
}

// place is where a sequence stands.
type place int

const (
	waiting place = iota
	pulling       // holds blocks and waits for another engine's KV cache
	ready         // has that KV cache and waits for its turn
	running
	ended
)

// ending says how a sequence ended.
type ending struct {
	reason string // stop, length or abort
	err    error
}

// sampling is what of the request decides the length of the answer.
type sampling struct {
	maxTokens int
	minTokens int
	ignoreEOS bool
}

// job is all sequences of one request.
type job struct {
	seqs []*sequence
	form form
	news chan struct{} // has an element when a sequence may have moved on
}

func (j *job) signal() { notify(j.news) }

// progress is a sequence's state for who writes the answer.
type progress struct {
	script   *script // nil as long as nothing is produced
	produced int
	ended    bool
	ending   ending
	cached   int
	handle   *handle
}

// known is the number of tokens of prompt and answer so far; all but the last one produced must
// be computed before the next one is.
func (s *sequence) known() int { return s.prompt.tokens + s.produced }

// plan plans the next tokens of s within the budget, at most so many, and returns their number.
func (s *sequence) plan(budget, most int) int {
	s.planned = min(s.known()-s.computed, budget, most)
	return s.planned
}

// learn sets what the KV cache says that the prompt is, which decides the answer and its length.
func (s *sequence) learn(digest string) {
	s.digest = digest
	s.script = s.job.form.script(ChoiceDigest(digest, s.choice))
	s.limit = s.script.limit(s.params)
}

// submit queues the job's sequences.
func (e *Engine) submit(j *job) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.faults.down() || e.stopped {
		return errEngineDead
	}
	now := time.Now()
	for _, s := range j.seqs {
		s.submitted = now
		if s.remote == nil {
			s.learn(s.prompt.digest)
		} else {
			notify(e.beat)
		}
		e.waiting = append(e.waiting, s)
	}
	e.kick()
	return nil
}

// progressOf is the present state of each of the job's sequences.
func (e *Engine) progressOf(j *job, into []progress) []progress {
	e.mu.Lock()
	defer e.mu.Unlock()
	into = into[:0]
	for _, s := range j.seqs {
		into = append(into, progress{
			script: s.script, produced: s.produced, ended: s.place == ended,
			ending: s.ending, cached: s.cached, handle: s.handle,
		})
	}
	return into
}

// abandon ends what still runs of the job, since nobody reads on.
func (e *Engine) abandon(j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range j.seqs {
		if s.place != ended {
			e.count.Aborted++
			e.end(s, ending{reason: "abort"})
		}
	}
}

// stopAt ends a sequence whose text reached a stop string.
func (e *Engine) stopAt(s *sequence) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.place != ended {
		e.end(s, ending{reason: "stop"})
	}
}

// end frees all that the sequence holds, wherever it stands. The caller holds e.mu.
func (e *Engine) end(s *sequence, how ending) {
	if s.place == ended {
		return
	}
	e.leave(s)
	if s.pinUnder != "" && how.reason == "length" {
		e.pin(s)
	} else {
		e.pool.release(s.blocks)
	}
	s.place, s.blocks, s.planned, s.ending = ended, nil, 0, how
	close(s.stop)
	if r := s.remote; r != nil && !r.read {
		e.releaseRemote(r)
	}
	e.kick()
	s.job.signal()
}

// leave takes the sequence off the list that it is in. The caller holds e.mu.
func (e *Engine) leave(s *sequence) {
	if list := e.list(s.place); list != nil {
		*list = without(*list, s)
	}
}

// move puts the sequence at the end of another list. The caller holds e.mu.
func (e *Engine) move(s *sequence, to place) {
	e.leave(s)
	s.place = to
	list := e.list(to)
	*list = append(*list, s)
}

// list is the one of the sequences that stand there; nil for those that ended.
func (e *Engine) list(at place) *[]*sequence {
	switch at {
	case waiting:
		return &e.waiting
	case pulling:
		return &e.pulling
	case ready:
		return &e.ready
	case running:
		return &e.running
	case ended:
	}
	return nil
}

func without(list []*sequence, s *sequence) []*sequence {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// live are the sequences that have not ended. The caller holds e.mu.
func (e *Engine) live() []*sequence {
	return slices.Concat(e.waiting, e.pulling, e.ready, e.running)
}
