// Package schedule is the law by which requests are ordered and placed: pure decisions over books
// of what every worker has. It does no I/O, starts nothing, reads no clock and locks nothing.
package schedule

import (
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
	Deadline  time.Time // zero: none
	Tokens    int       // of the prompt, estimated
	MaxTokens int       // most tokens of the answer; 0: not said
	Whole     bool      // must not be split
	Prefix    []uint64  // see wire.PrefillJob
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
	cfg     Config
	workers map[string]Worker
	queue   []*Job
}

// New returns a scheduler that knows no worker and no job.
func New(cfg Config) *Scheduler {
	return &Scheduler{cfg: cfg, workers: map[string]Worker{}}
}

// SetWorker takes a new worker, or news of a known one.
func (s *Scheduler) SetWorker(w Worker, _ time.Time) { s.workers[w.ID] = w }

// RemoveWorker forgets a worker that is dead and returns the jobs that were assigned to it and are
// not past it.
func (s *Scheduler) RemoveWorker(id string, _ time.Time) []*Job {
	delete(s.workers, id)
	return nil
}

// Report takes what a worker says of its jobs.
func (s *Scheduler) Report(*wire.Report, time.Time) {}

// Add queues a job. One whose key is known came again: it replaces what was known of it.
func (s *Scheduler) Add(j *Job, _ time.Time) { s.queue = append(s.queue, j) }

// Remove takes a queued job out; nil if it is not queued.
func (s *Scheduler) Remove(key string) *Job {
	for i, j := range s.queue {
		if j.Key == key {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return j
		}
	}
	return nil
}

// RemoveFrontend takes out all queued jobs of a frontend that is dead.
func (s *Scheduler) RemoveFrontend(id string) (gone []*Job) {
	for _, j := range s.queue {
		if j.Frontend == id {
			gone = append(gone, j)
		}
	}
	for _, j := range gone {
		s.Remove(j.Key)
	}
	return gone
}

// Expired takes out the queued jobs whose deadline has passed.
func (s *Scheduler) Expired(time.Time) []*Job { return nil }

// Next decides about one job and commits what it takes to the books; false: nothing can be placed
// now. Call it until it says so after every event.
func (s *Scheduler) Next(now time.Time) (Assigned, bool) {
	for _, w := range s.workers {
		if len(s.queue) > 0 && w.Ready {
			j := s.queue[0]
			s.queue = s.queue[1:]
			return Assigned{Job: j, Worker: w.ID, Assignment: wire.Assignment{Place: wire.PlaceWhole, Why: "whole", Waited: now.Sub(j.Admitted)}}, true
		}
	}
	return Assigned{}, false
}

// Undo takes back an assignment that could not be delivered: the job is queued again.
func (s *Scheduler) Undo(a Assigned, now time.Time) { s.Add(a.Job, now) }

// Wake says when to call Next again even without an event; zero: no need.
func (s *Scheduler) Wake(time.Time) time.Time { return time.Time{} }

// Queued is the number of jobs that wait.
func (s *Scheduler) Queued() int { return len(s.queue) }
