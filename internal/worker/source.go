package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	mostFetched = 256         // jobs in one fetch
	fetchWait   = time.Second // of one fetch: a server that was restarted knows nothing of it
	retryFetch  = time.Second
	// returnDelay is between a job's return by a worker that takes none and its next delivery: time for
	// the dispatchers to learn that, or they would send it here again and again.
	returnDelay = 250 * time.Millisecond
	// lookAgain is between two looks whether the line of a stage has a place again.
	lookAgain = 10 * time.Millisecond
)

// FromQueue is the source of the jobs that a queue has under key. Jobs that wait for the stage wait in its line: the bus
// keeps alive only what it has yielded, and a handle that is delivered twice is lost.
func FromQueue[J any](jobs Jobs[J], key string, log *slog.Logger) Source[J] {
	return func(ctx context.Context, take func(*Delivery[J]) int) {
		places := mostWaiting
		for ctx.Err() == nil {
			for d, err := range jobs.Fetch(ctx, key, max(1, min(mostFetched, places)), fetchWait) {
				if err != nil {
					if ctx.Err() == nil {
						log.WarnContext(ctx, "fetch failed", slog.Any("error", err))
						sleep(ctx, retryFetch)
					}
					break
				}
				for places = take(d); places < 0; places = take(d) { // only the last one of a fetch can have to wait
					<-time.After(lookAgain) // also after ctx's end, which empties the line
				}
			}
		}
	}
}

// Assignments are the jobs that dispatchers send to one worker, by what is to be done with them. Its
// methods are safe for concurrent use.
type Assignments struct {
	split inbox[wire.PrefillJob]
	whole inbox[wire.DecodeJob]
	log   *slog.Logger
}

// NewAssignments makes the assignments of a worker; one without prefills has no stage for split jobs,
// which go back to their queue.
func NewAssignments(prefills bool, log *slog.Logger) *Assignments {
	a := &Assignments{log: log}
	a.split.over = !prefills
	return a
}

// Put takes one assigned job, and does not wait. One that cannot be taken goes back to its queue.
func (a *Assignments) Put(d *Delivery[wire.PrefillJob]) {
	taken := false
	if d.Job.Assignment != nil {
		switch d.Job.Assignment.Place {
		case wire.PlaceSplit:
			taken = a.split.put(d)
		case wire.PlaceWhole:
			taken = a.whole.put(wholly(d))
		}
	}
	if taken {
		return
	}
	if err := d.Ack.Retry(context.Background(), returnDelay); err != nil {
		a.log.Warn("job that this worker cannot take not handed back", slog.String("request_id", d.Job.ID), slog.Any("error", err))
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
func (a *Assignments) Split(ctx context.Context, take func(*Delivery[wire.PrefillJob]) int) {
	a.split.feed(ctx, take)
}

// Whole is the source of the jobs that are to be done here wholly.
func (a *Assignments) Whole(ctx context.Context, take func(*Delivery[wire.DecodeJob]) int) {
	a.whole.feed(ctx, take)
}

// inbox passes jobs to a stage, within the call that brings them.
type inbox[J any] struct {
	mu    sync.Mutex
	take  func(*Delivery[J]) int // the stage's; nil: it does not run yet
	early []*Delivery[J]         // came before it did
	over  bool                   // nothing is taken any more
}

// put tells whether the job was taken.
func (i *inbox[J]) put(d *Delivery[J]) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.over:
		return false
	case i.take != nil:
		return i.take(d) >= 0
	case len(i.early) == mostWaiting:
		return false
	}
	i.early = append(i.early, d)
	return true
}

// feed has jobs taken until ctx ends; what came before is taken in any case: a stage that ends hands it back.
func (i *inbox[J]) feed(ctx context.Context, take func(*Delivery[J]) int) {
	i.mu.Lock()
	for _, d := range i.early {
		take(d) // a line has places for all of them
	}
	i.early, i.take = nil, take
	i.mu.Unlock()
	<-ctx.Done()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
}
