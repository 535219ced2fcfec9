package schedule

import (
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// leg is a job at one worker, as the books have it.
type leg struct {
	key    string
	worker *worker
	flight *flight    // nil: another dispatcher assigned the job, or it came again meanwhile
	decode bool       // of a split job, at its decode worker
	stage  wire.Stage // "": the worker has not said anything yet; at a decode worker: its room is reserved
	tokens int        // of the prompt
	cached int        // of them, expected or found in the prefix cache
	kv     int        // tokens of KV cache that it may need in all
	prefix []uint64   // held in the worker's index
	guess  int        // tokens that the index said were cached
	sent   time.Time  // when it was entered
	since  time.Time  // the last news of it
	until  time.Time  // of a reservation: when it ends unless there is news
	began  time.Time  // of StageHanded or StageDecoding
	link   *link      // StageHanded: that the KV cache goes over; nil: not known
	inDue  int
}

// flight is a job that this scheduler has assigned, until all its legs have ended.
type flight struct {
	entry  *entry
	tokens int  // that were counted for its tenant
	run    *leg // the whole job, or its prefill; nil once it has ended
	decode *leg // nil: the job is not split, or the leg has ended
}

// worker is one worker and its books. All sums are over its legs.
type worker struct {
	Worker

	legs     map[string]*leg
	prefixes *prefixes
	claimed  *entry // in this look at the queue: the job that its room is kept for
	seq      uint64 // of the last report

	itl       time.Duration // between tokens of one stream, as it said last
	itlAt     time.Time     // when
	slow      time.Time     // since when that is above the promise; zero: it is not
	heldUntil time.Time     // no long prompt until then

	prompts     []*leg    // without a first token, in order
	firstAt     time.Time // the last first token
	computed    float64   // tokens of prompts that were computed of late
	seconds     float64   // that they took
	starvedAt   time.Time // see starve
	starvedFrom time.Time

	longs, longTokens   int // prompts without a first token, and their tokens to compute
	shorts, shortTokens int
	decoding            int // sequences that produce tokens
	reserved            int // that will come from a prefill worker
	handles             int // that wait for their readers
	kv                  int // tokens of KV cache
}

// waits reports whether the leg's prompt has no first token yet and is computed here.
func (l *leg) waits() bool {
	return !l.decode && (l.stage == "" || l.stage == wire.StagePrefilling)
}

func (l *leg) work() int { return max(1, l.tokens-l.cached) }

// count adds (1) or takes (-1) what a leg has at its worker.
func (w *worker) count(l *leg, n, short int) {
	switch {
	case l.waits() && l.work() <= short:
		w.shorts += n
		w.shortTokens += n * l.work()
	case l.waits():
		w.longs += n
		w.longTokens += n * l.work()
	case l.stage == wire.StageHanded:
		w.handles += n
	case l.stage == wire.StageDecoding:
		w.decoding += n
	default:
		w.reserved += n
	}
	w.kv += n * l.kv
}

// busy is the number of sequences that the engine has or will have at once.
func (w *worker) busy() int { return len(w.legs) - w.handles }

// used is the KV cache that is committed: what several jobs share is there once.
func (w *worker) used() int { return max(0, w.kv-w.prefixes.sharing()) }

// enter puts a leg into the books, in place of an older one of the same key.
func (s *Scheduler) enter(l *leg, now time.Time) {
	w := l.worker
	if old := w.legs[l.key]; old != nil {
		s.leave(old)
	}
	l.sent, l.since = now, now
	w.legs[l.key] = l
	w.count(l, 1, s.cfg.ShortPrompt)
	if l.waits() {
		w.prompts = append(w.prompts, l)
	}
	if n := len(l.prefix); n > 0 {
		w.prefixes.hold(l.prefix, max(1, l.tokens/n))
	}
	if l.decode && l.stage == "" {
		l.until = now.Add(s.cfg.Lease)
		s.reservations.push(l)
	}
}

// leave takes a leg out of the books, and nothing else.
func (s *Scheduler) leave(l *leg) {
	w := l.worker
	delete(w.legs, l.key)
	w.count(l, -1, s.cfg.ShortPrompt)
	w.passed(l)
	w.prefixes.release(l.prefix)
	s.reservations.remove(l)
	if l.link != nil {
		l.link.stop(l.tokens)
	}
	if f := l.flight; f != nil {
		if f.run == l {
			f.run = nil
		} else {
			f.decode = nil
		}
		if f.run == nil && f.decode == nil {
			delete(s.flights, l.key)
		}
		l.flight = nil
	}
}

// change alters a leg within its worker's sums.
func (s *Scheduler) change(l *leg, now time.Time, alter func()) {
	l.worker.count(l, -1, s.cfg.ShortPrompt)
	alter()
	l.worker.count(l, 1, s.cfg.ShortPrompt)
	l.since = now
	if !l.waits() {
		l.worker.passed(l)
	}
	if !l.decode || l.stage != "" {
		s.reservations.remove(l)
	}
}

// renew lets a reservation wait for a whole lease from now, or for less.
func (s *Scheduler) renew(l *leg, until time.Time) {
	if l != nil && l.inDue > 0 {
		l.until = until
		s.reservations.fix(l)
	}
}

// lapse ends the reservations that nothing was heard of for too long.
func (s *Scheduler) lapse(now time.Time) {
	for {
		l, ok := s.reservations.top()
		if !ok || l.until.After(now) {
			return
		}
		s.leave(l)
	}
}

// forsake ends what a flight has in the books when its job comes again or will: what a worker has
// not confirmed goes, and the rest stays until that worker says that it ended.
func (s *Scheduler) forsake(f *flight) {
	delete(s.flights, f.entry.job.Key)
	for _, l := range []*leg{f.run, f.decode} {
		if l == nil {
			continue
		}
		l.flight = nil
		if l.stage == "" {
			s.leave(l)
		}
	}
}

// lose empties the books of a worker that has lost all it had, and returns the jobs that were
// assigned to it and not past it.
func (s *Scheduler) lose(w *worker) (again []*Job) {
	for _, l := range w.legs {
		f := l.flight
		back := f != nil && f.run == l && l.waits()
		s.leave(l)
		if back {
			again = append(again, f.entry.job)
			s.forsake(f)
		}
	}
	w.prefixes = newPrefixes()
	w.prefixes.resize(w.Capacity)
	w.seq, w.itl, w.slow, w.heldUntil = 0, 0, time.Time{}, time.Time{}
	return again
}
