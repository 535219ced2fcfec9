package worker

import (
	"context"
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
}

// Run takes jobs until ctx ends and drains: what dispatchers sent before they knew that this worker
// leaves is still done, until nothing is left or Drain is over. It returns nil after a drain.
func (s *Stage[J]) Run(ctx context.Context) error {
	r := &stageRun[J]{Stage: s, idle: make(chan struct{}, 1)}
	var stop context.CancelCauseFunc
	r.work, stop = context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var end context.CancelFunc
	r.feed, end = context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var sources sync.WaitGroup
	for _, source := range s.Sources {
		sources.Go(func() { source(r.feed, r.start) })
	}
	<-ctx.Done()
	over := time.NewTimer(s.Drain)
	defer over.Stop()
	for left := true; left && r.busy(); {
		select {
		case <-r.idle:
		case <-over.C:
			stop(ErrStopping)
			left = false
		}
	}
	end()
	sources.Wait()
	r.running.Wait()
	return nil
}

// stageRun is a stage that runs.
type stageRun[J any] struct {
	*Stage[J]

	work, feed context.Context //nolint:containedctx // those of Run, for what its sources call
	running    sync.WaitGroup
	idle       chan struct{} // 1 slot: the last job has ended

	mu   sync.Mutex
	jobs int // taken or waiting to be
}

func (r *stageRun[J]) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs > 0
}

func (r *stageRun[J]) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jobs += n; r.jobs == 0 {
		poke(r.idle)
	}
}

// start runs a job; one that comes too late to be taken is run only to be handed back.
func (r *stageRun[J]) start(d *Delivery[J]) {
	r.count(1)
	work := r.work
	release, err := r.Take(r.feed, &d.Job)
	if err != nil {
		release = func() {}
		var stop context.CancelCauseFunc
		work, stop = context.WithCancelCause(work)
		stop(ErrStopping)
	}
	r.running.Go(func() {
		defer r.count(-1)
		defer release()
		r.Work(work, d, release)
	})
}

// sleep ends early with ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
