package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Stage pulls jobs while Ready says there is room and runs each in a goroutine of its own.
type Stage[J any] struct {
	Jobs   Jobs[J]
	Models func() []string                                               // what the engine serves; asked before each fetch
	Ready  func(ctx context.Context) (n int, err error)                  // waits for room for n jobs; fails only when ctx ends
	Take   func(ctx context.Context, job *J) (release func(), err error) // counts one job; fails only when ctx ends
	Work   func(ctx context.Context, d *Delivery[J], release func())     // ends the delivery; ctx ends with ErrStopping
	Drain  time.Duration                                                 // from the end of Run's ctx to ErrStopping
	Log    *slog.Logger
}

const (
	fetchWait  = 5 * time.Second        // one model: the queue wakes us
	fetchTurn  = 200 * time.Millisecond // several models take turns
	retryFetch = time.Second
)

// Run pulls until ctx ends, then waits for the running jobs, at most Drain and what a job needs
// to give up. It returns nil after a drain.
func (s *Stage[J]) Run(ctx context.Context) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running sync.WaitGroup
	for ctx.Err() == nil {
		s.pull(ctx, work, &running)
	}
	drain := time.AfterFunc(s.Drain, func() { stop(ErrStopping) })
	defer drain.Stop()
	running.Wait()
	return nil
}

// pull makes one round over the models.
func (s *Stage[J]) pull(ctx, work context.Context, running *sync.WaitGroup) {
	models := s.Models()
	if len(models) == 0 {
		sleep(ctx, retryFetch)
		return
	}
	wait := fetchWait
	if len(models) > 1 {
		wait = fetchTurn
	}
	for _, model := range models {
		n, err := s.Ready(ctx)
		if err != nil {
			return // only the end of ctx
		}
		for d, err := range s.Jobs.Fetch(ctx, model, n, wait) {
			if err != nil {
				if ctx.Err() == nil {
					s.Log.WarnContext(ctx, "fetch failed", slog.String("model", model), slog.Any("error", err))
					sleep(ctx, retryFetch)
				}
				break
			}
			s.start(ctx, work, running, d)
		}
	}
}

// start runs a job; one that comes too late to be taken is run only to be handed back.
func (s *Stage[J]) start(ctx, work context.Context, running *sync.WaitGroup, d *Delivery[J]) {
	release, err := s.Take(ctx, &d.Job)
	if err != nil {
		release = func() {}
	}
	if ctx.Err() != nil {
		var stop context.CancelCauseFunc
		work, stop = context.WithCancelCause(work)
		stop(ErrStopping)
	}
	running.Go(func() {
		defer release()
		s.Work(work, d, release)
	})
}

// sleep ends early with ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
