package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Source feeds a stage with deliveries until ctx ends. It may call take from any goroutine; take
// waits while the stage has no room.
type Source[J any] func(ctx context.Context, take func(*Delivery[J]))

// Stage runs the jobs that its sources bring, each in a goroutine of its own. A dispatcher has chosen
// this worker for them; Take is the bound behind the dispatcher's.
type Stage[J any] struct {
	Sources []Source[J]
	Take    func(ctx context.Context, job *J) (release func(), err error) // counts one job; fails only when ctx ends
	Work    func(ctx context.Context, d *Delivery[J], release func())     // ends the delivery; ctx ends with ErrStopping
	Drain   time.Duration                                                 // from the end of Run's ctx to ErrStopping
	Log     *slog.Logger
}

// Run takes jobs until ctx ends, then waits for the running ones, at most Drain and what a job needs
// to give up. It returns nil after a drain.
func (s *Stage[J]) Run(ctx context.Context) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running, sources sync.WaitGroup
	for _, source := range s.Sources {
		sources.Go(func() {
			source(ctx, func(d *Delivery[J]) { s.start(ctx, work, &running, d) })
		})
	}
	sources.Wait()
	drain := time.AfterFunc(s.Drain, func() { stop(ErrStopping) })
	defer drain.Stop()
	running.Wait()
	return nil
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
