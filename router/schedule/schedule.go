// Package schedule is the law by which requests are ordered and placed: pure decisions over books
// of what every worker has. It does no I/O, starts nothing, reads no clock and locks nothing.
package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Worker is what the law must know of one worker.
type Worker struct {
	ID       string
	Role     wire.Role
	Started  time.Time // of its process: another value means that it has lost all it had
	Capacity int       // tokens of KV cache; 0: unknown, no bound
	Slots    int       // most requests at once; 0: unknown, no bound
	Ready    bool      // its engine answers
	Leaving  bool      // takes nothing more
}

// Job is one queued request.
type Job struct {
	Key       string // wire.Request.MsgID
	Frontend  string
	Tenant    string
	Class     wire.Class
	Admitted  time.Time
	Deadline  time.Time // of the whole answer; zero: none
	Tokens    int       // of the prompt, estimated
	MaxTokens int       // most tokens of the answer; 0: not said
	Whole     bool      // must not be split
	Prefix    []uint64  // see wire.PrefillJob
	Avoid     []string  // workers that failed it, the last one last: others are tried first
	Ref       any       // the caller's own
}

// Assigned is one decision.
type Assigned struct {
	Job    *Job
	Worker string // that gets the job
	wire.Assignment
}

// Scheduler orders and places the requests of one model. It is used by one goroutine.
type Scheduler struct {
	cfg          Config
	queue        *queue
	arrivals     uint64
	learned      estimates
	workers      map[string]*worker
	byID         []*worker // all of them, in order
	flights      map[string]*flight
	reservations heap[*leg] // by leg.until
	links        map[pair]*link
	lost         []*Job // of workers that came back without them; SetWorker returns them
	sentAway     line

	// Of the present look at the queue; see muster.
	ready, prefillers, pure, decoders []*worker
	splits                            bool
	waits                             map[string]int // jobs that were looked at and must wait, by reason
}

// New returns a scheduler that knows no worker and no job.
func New(cfg Config) *Scheduler {
	return &Scheduler{
		cfg: cfg, queue: newQueue(cfg.Aging), workers: map[string]*worker{}, flights: map[string]*flight{},
		reservations: heap[*leg]{
			less:  func(a, b *leg) bool { return a.until.Before(b.until) },
			place: func(l *leg) *int { return &l.inDue },
		},
		links: map[pair]*link{}, waits: map[string]int{},
	}
}

// SetWorker takes a new worker, or news of a known one. If that has started anew, its former jobs
// are over: those that were assigned to it and are not past it are returned.
func (s *Scheduler) SetWorker(is Worker) []*Job {
	w := s.workers[is.ID]
	if w == nil {
		w = &worker{legs: map[string]*leg{}, prefixes: newPrefixes()}
		s.workers[is.ID] = w
		at, _ := slices.BinarySearchFunc(s.byID, is.ID, func(w *worker, id string) int { return cmp.Compare(w.ID, id) })
		s.byID = slices.Insert(s.byID, at, w)
	} else if !w.Started.Equal(is.Started) {
		s.lost = append(s.lost, s.lose(w)...)
	}
	w.Worker = is
	w.prefixes.resize(is.Capacity)
	return s.comeAgain(nil)
}

// RemoveWorker forgets a worker that is dead and returns the jobs that were assigned to it and are
// not past it.
func (s *Scheduler) RemoveWorker(id string) []*Job {
	w := s.workers[id]
	if w == nil {
		return s.comeAgain(nil)
	}
	again := s.lose(w)
	delete(s.workers, id)
	s.byID = slices.DeleteFunc(s.byID, func(w *worker) bool { return w.ID == id })
	for k := range s.links {
		if k.prefill == id || k.decode == id {
			delete(s.links, k)
		}
	}
	return s.comeAgain(again)
}

// Lost returns the jobs that their workers have lost, by what reports said since the last call: also those that never
// reached them, as when a worker has its connection back later than the dispatcher.
func (s *Scheduler) Lost() []*Job { return s.comeAgain(nil) }

// comeAgain returns the jobs with those that were lost before, in order of their keys.
func (s *Scheduler) comeAgain(jobs []*Job) []*Job {
	jobs = append(jobs, s.lost...)
	s.lost = nil
	slices.SortFunc(jobs, func(a, b *Job) int { return cmp.Compare(a.Key, b.Key) })
	return jobs
}

// Add queues a job. One whose key is known came again: it replaces what was known of it.
func (s *Scheduler) Add(j *Job, now time.Time) {
	if f := s.flights[j.Key]; f != nil {
		s.forsake(f)
	}
	if e := s.queue.byKey[j.Key]; e != nil {
		s.queue.remove(e)
		e.job = j
		s.enqueue(e, now)
		return
	}
	s.arrivals++
	s.enqueue(&entry{job: j, seq: s.arrivals}, now)
}

func (s *Scheduler) enqueue(e *entry, now time.Time) {
	if e.job.Admitted.IsZero() {
		e.job.Admitted = now
	}
	s.restand(e, now)
	s.queue.add(e)
}

// restand says where a queued job stands now.
func (s *Scheduler) restand(e *entry, now time.Time) {
	tokens := s.learned.prompt(e.job)
	var due, late time.Time
	if s.cfg.SLO.TTFT > 0 {
		due = e.job.Admitted.Add(s.cfg.SLO.TTFT)
	}
	if d := e.job.Deadline; !d.IsZero() {
		if d = d.Add(-s.learned.rest(e.job)); due.IsZero() || d.Before(due) {
			due = d
		}
	}
	if !due.IsZero() {
		late = due.Add(-s.fastest(tokens))
	}
	e.tokens = tokens
	s.queue.stand(e, due, late, tokens <= s.cfg.ShortPrompt, now)
}

// fastest is how soon the first token of a prompt could come.
func (s *Scheduler) fastest(tokens int) time.Duration {
	var pace float64
	for _, w := range s.byID {
		if p := w.pace(); p > 0 && (pace == 0 || p < pace) {
			pace = p
		}
	}
	took := time.Duration(pace * float64(tokens) * float64(time.Second))
	if s.cfg.Mode == Split {
		took += s.learned.handoverTime()
	}
	return took
}

// Remove takes a queued job out; nil if it is not queued.
func (s *Scheduler) Remove(key string) *Job {
	e := s.queue.byKey[key]
	if e == nil {
		return nil
	}
	s.queue.remove(e)
	return e.job
}

// RemoveFrontend takes out all queued jobs of a frontend that is dead.
func (s *Scheduler) RemoveFrontend(id string) (gone []*Job) {
	for _, e := range s.queue.byKey {
		if e.job.Frontend == id {
			gone = append(gone, e.job)
		}
	}
	slices.SortFunc(gone, func(a, b *Job) int { return cmp.Compare(a.Key, b.Key) })
	for _, j := range gone {
		s.Remove(j.Key)
	}
	return gone
}

// turn moves the jobs that have aged or become late.
func (s *Scheduler) turn(now time.Time) {
	s.queue.turn(now, func(e *entry) { s.restand(e, now) })
}

// Next decides about one job and commits what it takes to the books; false: nothing can be placed
// now. Call it until it says so after every event.
func (s *Scheduler) Next(now time.Time) (Assigned, bool) {
	s.lapse(now)
	s.turn(now)
	s.muster()
	clear(s.waits)
	var buf [2 * candidates]*entry
	for g := 0; g < groups; g += lanes {
		for _, e := range s.queue.look(g, buf[:0]) {
			c, wait := s.place(e, now)
			if wait == "" {
				return s.commit(e, c, now), true
			}
			s.waits[wait]++
			if e.looked.IsZero() {
				e.looked = now
			}
			if wait == waitKV && now.Sub(e.looked) >= patience {
				s.claim(e)
			}
		}
	}
	return Assigned{}, false
}

// commit enters a decision into the books.
func (s *Scheduler) commit(e *entry, c choice, now time.Time) Assigned {
	a := s.ask(e, now)
	f := &flight{entry: e, tokens: a.need}
	s.queue.serve(e.job.Tenant, f.tokens)
	s.queue.remove(e)
	s.flights[e.job.Key] = f
	leg := func(w *worker, kv int) *leg {
		cached, _ := a.cached(w)
		matched, _ := w.prefixes.match(e.job.Prefix)
		return &leg{key: e.job.Key, worker: w, flight: f, tokens: a.tokens, cached: cached, kv: kv, prefix: e.job.Prefix, guess: min(a.tokens-1, matched)}
	}
	c.run.starvedAt = time.Time{}
	out := Assigned{Job: e.job, Worker: c.run.ID, Assignment: wire.Assignment{Place: wire.PlaceWhole, Why: c.why, Waited: now.Sub(e.job.Admitted)}}
	answers := c.run
	if c.decode != nil {
		answers = c.decode
	}
	_, out.Shared = a.cached(answers)
	if c.decode == nil {
		f.run = leg(c.run, a.need)
	} else {
		f.run = leg(c.run, a.tokens)
		f.decode = leg(c.decode, a.need)
		f.decode.decode = true
		s.enter(f.decode, now)
		out.Place, out.Decode = wire.PlaceSplit, c.decode.ID
	}
	s.enter(f.run, now)
	return out
}

// Undo takes back an assignment that could not be delivered: the job is queued again at its place.
func (s *Scheduler) Undo(a Assigned, now time.Time) {
	f := s.flights[a.Job.Key]
	if f == nil || f.entry.job != a.Job {
		return
	}
	s.forsake(f)
	s.enqueue(f.entry, now)
	s.queue.serve(a.Job.Tenant, -f.tokens)
}

// Wake says when to call Next again even without an event; zero: no need.
func (s *Scheduler) Wake(now time.Time) (at time.Time) {
	soonest := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if len(s.queue.byKey) == 0 {
		return at
	}
	for _, w := range s.byID {
		soonest(w.heldUntil)
	}
	if l, ok := s.reservations.top(); ok {
		soonest(l.until)
	}
	if e, ok := s.queue.deadlines.top(); ok {
		soonest(e.job.Deadline)
	}
	if e, ok := s.queue.turns.top(); ok {
		soonest(e.turns)
	}
	return at
}

// Queued is the number of jobs that wait.
func (s *Scheduler) Queued() int { return len(s.queue.byKey) }
