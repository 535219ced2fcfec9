package schedule

import (
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	// soonest is when a refused request may come again at the earliest: at once it would find the same.
	soonest = time.Second
	// farthest is how long the line of those that were sent away can be. Clients heed no longer pause,
	// and many never come again.
	farthest = time.Minute
)

// Refused is a queued job that will not be done.
type Refused struct {
	Job        *Job
	Reason     wire.Reason   // DeadlineOver or TooLate
	RetryAfter time.Duration // TooLate: when a request like it could be served that comes then; 0: not known
}

// line is until when the engines are busy with the requests of each level that wait, or were sent away
// and come again.
type line [levels]time.Time

// Expired takes out the queued jobs whose deadline has passed and, if the configuration says so,
// those whose first token can no longer come in time.
func (s *Scheduler) Expired(now time.Time) (gone []Refused) {
	for {
		e, ok := s.queue.deadlines.top()
		if !ok || e.job.Deadline.After(now) {
			break
		}
		s.queue.remove(e)
		gone = append(gone, Refused{Job: e.job, Reason: wire.DeadlineOver})
	}
	if !s.cfg.RejectLate {
		return gone
	}
	s.turn(now)
	first := len(gone)
	var tokens []int
	for e := range s.queue.late() {
		s.queue.remove(e)
		gone = append(gone, Refused{Job: e.job, Reason: wire.TooLate})
		tokens = append(tokens, e.tokens)
	}
	if len(tokens) == 0 {
		return gone
	}
	rate, backlog := s.rate(now)
	for i := range gone[first:] {
		r := &gone[first+i]
		r.RetryAfter = s.again(levelOf(r.Job.Class), tokens[i], rate, backlog, now)
	}
	return gone
}

// rate is how many tokens of prompts all engines that compute long ones do in a second, of late (0: not
// known), and backlog how many they have.
func (s *Scheduler) rate(now time.Time) (rate float64, backlog int) {
	s.muster()
	of := s.ready
	if s.cfg.Mode == Split && s.splits {
		of = s.prefillers
	}
	for _, w := range of {
		backlog += w.backlog(now)
		if p := w.pace(); p > 0 {
			rate += 1 / p
		}
	}
	return rate, backlog
}

// again is when a request of a level that is sent away would be served: after what waits before such
// a one, and after those that were sent away before it. So they do not all come again at once.
func (s *Scheduler) again(level, tokens int, rate float64, backlog int, now time.Time) time.Duration {
	if rate == 0 {
		return 0
	}
	takes := func(tokens int) time.Duration {
		return time.Duration(min(float64(tokens)/rate, farthest.Seconds()) * float64(time.Second))
	}
	ahead := backlog
	for _, n := range s.queue.tokens[:groupOf(level, 1, 0)] {
		ahead += n
	}
	turn := now.Add(takes(ahead))
	if last := s.sentAway[level]; last.After(turn) {
		turn = last
	}
	s.sentAway[level] = turn
	if next := turn.Add(takes(tokens)); next.Sub(now) <= farthest {
		s.sentAway[level] = next
	}
	return max(soonest, turn.Sub(now))
}
