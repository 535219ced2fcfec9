package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	mostFetched = 32              // jobs in one fetch
	fetchWait   = 5 * time.Second // of one fetch: the queue wakes us
	retryFetch  = time.Second
	mostWaiting = 1024 // assigned jobs that wait for their stage; a dispatcher sends far fewer
)

// FromQueue is the source of the jobs that a queue has under key.
func FromQueue[J any](jobs Jobs[J], key string, log *slog.Logger) Source[J] {
	return func(ctx context.Context, take func(*Delivery[J])) {
		for ctx.Err() == nil {
			for d, err := range jobs.Fetch(ctx, key, mostFetched, fetchWait) {
				if err != nil {
					if ctx.Err() == nil {
						log.WarnContext(ctx, "fetch failed", slog.Any("error", err))
						sleep(ctx, retryFetch)
					}
					break
				}
				take(d)
			}
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

// NewAssignments makes the assignments of a worker with the stages that its role allows: a nil channel
// takes no job, so those for a missing stage go back to their queue.
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
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	if err := d.Ack.Retry(ctx, 0); err != nil {
		a.log.WarnContext(ctx, "job that this worker cannot take not handed back", slog.String("request_id", d.Job.ID), slog.Any("error", err))
	}
}

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
