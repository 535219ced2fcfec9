package worker

import (
	"context"
	"sync"
)

// Room counts the jobs that a worker runs, and their tokens, against its bounds. Its methods are safe
// for concurrent use.
type Room struct {
	mu       sync.Mutex
	changed  chan struct{} // closed when somebody who waits shall look again; nil: nobody waits
	slots    int           // most jobs; 0: no bound
	capacity int           // most tokens; 0: no bound
	atLeast  int           // jobs that may run whatever their tokens
	jobs     int
	tokens   int
	waiting  int // in Enter, with tokens
	observe  func(jobs, tokens int)
}

// NewRoom returns an empty room. A slots or capacity of 0 means no bound; atLeast jobs, and always
// one, fit whatever their tokens. observe is called with each new count, while the room is locked.
func NewRoom(slots, capacity, atLeast int, observe func(jobs, tokens int)) *Room {
	return &Room{slots: slots, capacity: capacity, atLeast: max(1, atLeast), observe: observe}
}

// Enter counts a job as soon as a slot and so many tokens as free says are free (the job may have
// more) and also (nil: always) agrees. also is called with the number of jobs while the room is
// locked; what it goes by must call Notify when it changes. The release that Enter returns may be
// called more than once. Enter returns the cause if ctx ends first.
func (r *Room) Enter(ctx context.Context, tokens, free int, also func(jobs int) bool) (release func(), err error) {
	if tokens > 0 {
		r.await(1)
		defer r.await(-1)
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		release, changed := r.enter(tokens, free, also)
		if release != nil {
			return release, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// enter returns what to wait for if the job does not fit.
func (r *Room) enter(tokens, free int, also func(jobs int) bool) (release func(), changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.slots > 0 && r.jobs >= r.slots ||
		r.capacity > 0 && r.tokens+free > r.capacity && r.jobs >= r.atLeast ||
		also != nil && !also(r.jobs)
	if full {
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		return nil, r.changed
	}
	r.count(1, tokens)
	left := false
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if left {
			return
		}
		left = true
		r.count(-1, -tokens)
		r.notify()
	}, nil
}

// count needs the lock.
func (r *Room) count(jobs, tokens int) {
	r.jobs += jobs
	r.tokens += tokens
	r.observe(r.jobs, r.tokens)
}

// Notify makes all that wait look again.
func (r *Room) Notify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notify()
}

// notify needs the lock.
func (r *Room) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// SetCapacity changes the most tokens.
func (r *Room) SetCapacity(tokens int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.capacity = tokens
	r.notify()
}

func (r *Room) await(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting += n
}

// Waiting returns how many jobs wait to enter; one without tokens is none.
func (r *Room) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// Used returns the jobs counted now, their tokens, and the most tokens.
func (r *Room) Used() (jobs, tokens, capacity int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs, r.tokens, r.capacity
}
