package worker

import (
	"context"
	"sync"
	"time"
)

// Room counts the jobs that a worker runs, and their tokens, against its bounds. One goroutine
// waits and adds; any number release.
type Room struct {
	changed chan struct{}

	mu       sync.Mutex
	slots    int // most jobs; 0: no bound
	capacity int // most tokens; 0: no bound
	atLeast  int // jobs that may run whatever their tokens
	jobs     int
	tokens   int
	observe  func(jobs, tokens int)
}

// NewRoom returns an empty room. A slots or capacity of 0 means no bound; atLeast jobs fit
// whatever their tokens. observe is called with each new count, while the room is locked.
func NewRoom(slots, capacity, atLeast int, observe func(jobs, tokens int)) *Room {
	return &Room{changed: make(chan struct{}, 1), slots: slots, capacity: capacity, atLeast: atLeast, observe: observe}
}

// recheck is how often Wait asks again a condition that does not call Notify.
const recheck = 100 * time.Millisecond

// Wait returns once a slot is free, the tokens are below the capacity and also (nil: always)
// agrees, with the number of free slots (at most limit). It returns the cause if ctx ends first.
func (r *Room) Wait(ctx context.Context, limit int, also func(context.Context) bool) (int, error) {
	for {
		var again <-chan time.Time
		if free := r.free(limit); free > 0 {
			if also == nil || also(ctx) {
				return free, context.Cause(ctx)
			}
			again = time.After(recheck)
		}
		select {
		case <-r.changed:
		case <-again:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (r *Room) free(limit int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capacity > 0 && r.tokens >= r.capacity && r.jobs >= r.atLeast {
		return 0
	}
	if r.slots > 0 {
		limit = min(limit, r.slots-r.jobs)
	}
	if r.capacity > 0 && r.jobs > 0 {
		limit = min(limit, max(1, (r.capacity-r.tokens)/max(1, r.tokens/r.jobs)))
	}
	return limit
}

// Add counts a job at once, even past the capacity. The release it returns may be called more
// than once.
func (r *Room) Add(tokens int) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.add(tokens)
}

// Fit counts a job as soon as its tokens fit beside the others; a job larger than the capacity
// fits into an empty room. It returns the cause if ctx ends first.
func (r *Room) Fit(ctx context.Context, tokens int) (release func(), err error) {
	for {
		if release := r.fit(tokens); release != nil {
			return release, nil
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *Room) fit(tokens int) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capacity > 0 && r.tokens+tokens > r.capacity && r.jobs >= max(1, r.atLeast) {
		return nil
	}
	return r.add(tokens)
}

func (r *Room) add(tokens int) (release func()) {
	r.count(1, tokens)
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.count(-1, -tokens)
		r.mu.Unlock()
		r.Notify()
	})
}

func (r *Room) count(jobs, tokens int) {
	r.jobs += jobs
	r.tokens += tokens
	r.observe(r.jobs, r.tokens)
}

// Notify makes a waiting Wait look again.
func (r *Room) Notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// SetCapacity changes the most tokens.
func (r *Room) SetCapacity(tokens int) {
	r.mu.Lock()
	r.capacity = tokens
	r.mu.Unlock()
	r.Notify()
}

// Used returns the jobs counted now, their tokens, and the most tokens.
func (r *Room) Used() (jobs, tokens, capacity int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs, r.tokens, r.capacity
}
