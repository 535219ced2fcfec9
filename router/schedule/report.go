package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	// settle is how long a job may be missing from a worker's full reports: its assignment or the
	// report may be on the way.
	settle = 2 * time.Second
	// slowFor is how long tokens may come slower than promised, and holdFor how long no long prompt
	// is then computed beside them.
	slowFor = time.Second
	holdFor = 2 * time.Second
	// itlLasts is how long a worker's word of its pace counts.
	itlLasts = 5 * time.Second
)

// Report takes what a worker says of its jobs.
func (s *Scheduler) Report(r *wire.Report, now time.Time) {
	w := s.workers[r.Worker]
	if w == nil {
		return // it serves other models
	}
	switch {
	case r.Started.IsZero() || w.Started.IsZero() || r.Started.Equal(w.Started):
	case r.Started.Before(w.Started):
		return // of a process that is gone
	default:
		s.lost = append(s.lost, s.lose(w)...)
		w.Started = r.Started
	}
	// Reports of one worker come in order; one that does not was overtaken. What has ended has
	// ended, though.
	overtaken := r.Seq != 0 && r.Seq <= w.seq
	if !overtaken {
		w.seq = r.Seq
		s.pace(w, r.ITL, now)
	}
	for i := range r.Jobs {
		if j := &r.Jobs[i]; j.Stage == wire.StageEnded || !overtaken {
			s.hear(w, j, now)
		}
	}
	if r.Full && !overtaken {
		s.mend(w, r.Jobs, now)
	}
}

// pace takes the time between a worker's tokens, and keeps long prompts from it where that was above
// the promise for too long.
func (s *Scheduler) pace(w *worker, itl time.Duration, now time.Time) {
	w.itl, w.itlAt = itl, now
	if itl > 0 {
		s.learned.gap.add(itl.Seconds())
	}
	switch {
	case itl <= s.cfg.SLO.TPOT:
		w.slow = time.Time{}
	case w.slow.IsZero():
		w.slow = now
	case now.Sub(w.slow) >= slowFor:
		w.heldUntil, w.slow = now.Add(holdFor), now
	}
}

// hear takes the news of one job.
func (s *Scheduler) hear(w *worker, j *wire.JobReport, now time.Time) {
	l := w.legs[j.Key]
	if j.Stage == wire.StageEnded {
		if l != nil {
			s.ended(l, j, now)
		}
		return
	}
	if l == nil {
		s.enter(&leg{key: j.Key, worker: w, stage: j.Stage, tokens: j.Tokens, cached: j.Cached, kv: j.KV, began: now}, now)
		return
	}
	if rank(j.Stage) < rank(l.stage) {
		return
	}
	news := j.Stage != l.stage
	waited := l.waits()
	s.change(l, now, func() {
		l.stage = j.Stage
		l.kv = j.KV
		if j.Tokens > 0 && l.link == nil { // which has counted them
			l.tokens = j.Tokens
		}
		if j.Stage == wire.StageHanded { // of a whole job it is known at the end
			l.cached = j.Cached
		}
	})
	if waited && !l.waits() {
		w.learnPace(l, now)
	}
	f := l.flight
	if f != nil && l == f.run {
		s.renew(f.decode, now.Add(s.cfg.Lease))
	}
	if news {
		s.reached(l, f, now)
	}
}

// reached takes note of what a new stage tells.
func (s *Scheduler) reached(l *leg, f *flight, now time.Time) {
	if l.stage == wire.StageDecoding {
		l.began = now
	}
	if f == nil || l != f.run || l.stage == wire.StagePrefilling {
		return
	}
	if l.stage == wire.StageHanded {
		l.worker.prefixes.found(l.guess, l.cached)
		s.counted(f.entry.job, l.tokens)
		l.began = now
		if f.decode != nil {
			l.link = s.link(l.worker.ID, f.decode.worker.ID)
			l.link.start(l.tokens)
		}
	}
}

func (s *Scheduler) counted(j *Job, tokens int) {
	if j.Tokens > 0 && tokens > 0 {
		s.learned.ratio.add(float64(tokens) / float64(j.Tokens))
	}
}

// ended takes a leg out that its worker says is over.
func (s *Scheduler) ended(l *leg, j *wire.JobReport, now time.Time) {
	if pace := l.worker.itl; l.stage == wire.StageDecoding && pace > 0 {
		s.learned.answer.add(float64(now.Sub(l.began)) / float64(pace))
	}
	f := l.flight
	if f != nil && l == f.run && j.Tokens > 0 {
		s.counted(f.entry.job, j.Tokens)
		if l.stage == wire.StageDecoding {
			l.worker.prefixes.found(l.guess, j.Cached)
		}
	}
	if l.link != nil && (f == nil || f.decode == nil || f.decode.stage != "") { // else nobody has read it
		l.link.arrived(l.tokens, l.began, now)
		s.learned.handover.add(now.Sub(l.began).Seconds())
	}
	s.finish(l, now)
}

// finish takes a leg out that is over.
func (s *Scheduler) finish(l *leg, now time.Time) {
	f, stage := l.flight, l.stage
	if f == nil || l != f.run || f.decode == nil || f.decode.stage != "" {
		s.leave(l)
		return
	}
	reserved := f.decode
	s.leave(l)
	if stage == wire.StageHanded {
		s.renew(reserved, now.Add(settle)) // its own report may be on the way
	} else {
		s.leave(reserved) // there will be no handle
	}
}

// mend makes the books of a worker what its full report says.
func (s *Scheduler) mend(w *worker, jobs []wire.JobReport, now time.Time) {
	there := make(map[string]bool, len(jobs))
	for i := range jobs {
		there[jobs[i].Key] = true
	}
	var over []*leg
	for key, l := range w.legs {
		reserved := l.decode && l.stage == ""
		if !there[key] && !reserved && now.Sub(l.since) > settle {
			over = append(over, l)
		}
	}
	slices.SortFunc(over, func(a, b *leg) int { return cmp.Compare(a.key, b.key) })
	for _, l := range over {
		if f := l.flight; f != nil && l == f.run && l.stage == "" { // it never came there
			s.lost = append(s.lost, f.entry.job)
			s.forsake(f)
			continue
		}
		s.finish(l, now)
	}
}

// rank orders the stages of one leg.
func rank(stage wire.Stage) int {
	switch stage {
	case wire.StagePrefilling:
		return 1
	case wire.StageHanded:
		return 2
	case wire.StageDecoding:
		return 3
	case wire.StageEnded:
		return 4
	}
	return 0
}
