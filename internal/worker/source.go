package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	mostFetched = 256         // jobs in one fetch: each costs a subscription
	fetchWait   = time.Second // of one fetch: a server that was restarted knows nothing of it
	retryFetch  = time.Second
	mostWaiting = 1024 // jobs of one source that wait for their stage; a dispatcher sends far fewer
	// returnDelay is between a job's return by a worker that takes none and its next delivery: time for
	// the dispatchers to learn that, or they would send it here again and again.
	returnDelay = 250 * time.Millisecond
)

// FromQueue is the source of the jobs that a queue has under key. Jobs that wait for the stage wait
// here: the bus keeps alive only what it has yielded, and a handle that is delivered twice is lost.
func FromQueue[J any](jobs Jobs[J], key string, log *slog.Logger) Source[J] {
	return func(ctx context.Context, take func(*Delivery[J])) {
		inbox := make(chan *Delivery[J], mostWaiting)
		var g sync.WaitGroup
		defer g.Wait()
		g.Go(func() {
			defer close(inbox)
			fetch(ctx, jobs, key, inbox, log)
		})
		for d := range inbox { // after ctx's end take hands back, so that fetch is never stuck
			take(d)
		}
	}
}

// fetch brings jobs in until ctx ends. Only the last one of a fetch can have to wait.
func fetch[J any](ctx context.Context, jobs Jobs[J], key string, inbox chan *Delivery[J], log *slog.Logger) {
	for ctx.Err() == nil {
		n := max(1, min(mostFetched, cap(inbox)-len(inbox)))
		for d, err := range jobs.Fetch(ctx, key, n, fetchWait) {
			if err != nil {
				if ctx.Err() == nil {
					log.WarnContext(ctx, "fetch failed", slog.Any("error", err))
					sleep(ctx, retryFetch)
				}
				break
			}
			inbox <- d
		}
	}
}

// Assignments are the jobs that dispatchers send to one worker, by what is to be done with them. Its
// methods are safe for concurrent use.
type Assignments struct {
	split chan *Delivery[wire.PrefillJob]
	whole chan *Delivery[wire.DecodeJob]
	log   *slog.Logger

	mu      sync.Mutex
	stopped bool
}

// NewAssignments makes the assignments of a worker; one without prefills has no stage for split jobs,
// which go back to their queue.
func NewAssignments(prefills bool, log *slog.Logger) *Assignments {
	a := &Assignments{whole: make(chan *Delivery[wire.DecodeJob], mostWaiting), log: log}
	if prefills {
		a.split = make(chan *Delivery[wire.PrefillJob], mostWaiting)
	}
	return a
}

// Put takes one assigned job. One that cannot be taken goes back to its queue.
func (a *Assignments) Put(d *Delivery[wire.PrefillJob]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := false
	if !a.stopped && d.Job.Assignment != nil {
		switch d.Job.Assignment.Place {
		case wire.PlaceSplit:
			taken = offer(a.split, d)
		case wire.PlaceWhole:
			taken = offer(a.whole, wholly(d))
		}
	}
	if taken {
		return
	}
	if err := d.Ack.Retry(context.Background(), returnDelay); err != nil {
		a.log.Warn("job that this worker cannot take not handed back", slog.String("request_id", d.Job.ID), slog.Any("error", err))
	}
}

// offer tells whether c had room; a nil channel never has.
func offer[T any](c chan T, v T) bool {
	select {
	case c <- v:
		return true
	default:
		return false
	}
}

// wholly makes the delivery of a whole request one of the decode stage.
func wholly(d *Delivery[wire.PrefillJob]) *Delivery[wire.DecodeJob] {
	return &Delivery[wire.DecodeJob]{
		Job:        wire.DecodeJob{Request: d.Job.Request, Whole: true, Assignment: d.Job.Assignment, Body: d.Job.Body},
		Deliveries: d.Deliveries, Last: d.Last, Queued: d.Queued, Ack: d.Ack,
	}
}

// Split is the source of the jobs whose prompt is to be prefilled here and decoded elsewhere.
func (a *Assignments) Split(ctx context.Context, take func(*Delivery[wire.PrefillJob])) {
	drain(ctx, a, a.split, take)
}

// Whole is the source of the jobs that are to be done here wholly.
func (a *Assignments) Whole(ctx context.Context, take func(*Delivery[wire.DecodeJob])) {
	drain(ctx, a, a.whole, take)
}

// drain feeds from c until ctx ends, and then with what has come before: a stage that ends hands it
// back.
func drain[J any](ctx context.Context, a *Assignments, c <-chan *Delivery[J], take func(*Delivery[J])) {
	for {
		select {
		case d := <-c:
			take(d)
			continue
		case <-ctx.Done():
		}
		a.mu.Lock()
		a.stopped = true
		a.mu.Unlock()
		for {
			select {
			case d := <-c:
				take(d)
			default:
				return
			}
		}
	}
}
