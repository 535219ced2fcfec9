package worker

import (
	"context"
	"sync"
	"time"
)

// Source feeds a stage with deliveries until ctx ends. It may call take from any goroutine. Jobs that the stage has no
// room for wait in a line for each source; take does not wait, and returns how many more have a place in the line. If that
// is less than 0, this one had none and was not taken.
type Source[J any] func(ctx context.Context, take func(*Delivery[J]) (places int))

// mostWaiting is how many jobs of one source wait for their stage; a dispatcher sends far fewer.
const mostWaiting = 1024

// Stage runs the jobs that its sources bring, each in a goroutine that it has for itself. A dispatcher has chosen
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
	r := &stageRun[J]{Stage: s, idle: make(chan struct{}, 1), next: make(chan task[J]), over: make(chan struct{})}
	var stop context.CancelCauseFunc
	r.work, stop = context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var end context.CancelFunc
	r.feed, end = context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var sources sync.WaitGroup
	for _, source := range s.Sources {
		l := &line[J]{run: r}
		sources.Go(func() { source(r.feed, l.take) })
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
	close(r.over)
	r.running.Wait()
	return nil
}

// stageRun is a stage that runs.
type stageRun[J any] struct {
	*Stage[J]

	work, feed context.Context //nolint:containedctx // those of Run, for what its sources call
	running    sync.WaitGroup
	idle       chan struct{} // 1 slot: the last job has ended
	next       chan task[J]  // to a goroutine that is through with another job
	over       chan struct{} // closed when no job comes any more

	mu   sync.Mutex
	jobs int // taken or waiting to be
	free int // goroutines that wait for a job
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

// line has the jobs of one source enter one after the other, as they came.
type line[J any] struct {
	run *stageRun[J]

	mu       sync.Mutex
	entering bool // a job is, in its goroutine
	waiting  []*Delivery[J]
}

// take is a Source's.
func (l *line[J]) take(d *Delivery[J]) (places int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.entering:
		l.entering = true
		l.run.count(1)
		l.run.hand(task[J]{d, l})
	case len(l.waiting) == mostWaiting:
		return -1
	default:
		l.run.count(1)
		l.waiting = append(l.waiting, d)
	}
	return mostWaiting - len(l.waiting)
}

// next has the next job enter.
func (l *line[J]) next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entering = len(l.waiting) > 0; !l.entering {
		l.waiting = nil
		return
	}
	d := l.waiting[0]
	l.waiting[0], l.waiting = nil, l.waiting[1:]
	l.run.hand(task[J]{d, l})
}

// task is a job on its way to its goroutine.
type task[J any] struct {
	delivery *Delivery[J]
	line     *line[J]
}

// hand gives a job to a goroutine.
func (r *stageRun[J]) hand(t task[J]) {
	select {
	case r.next <- t:
	default:
		r.running.Go(func() { r.run(t) })
	}
}

// mostFree is how many goroutines wait for another job: their stacks have grown to what one needs.
const mostFree = 64

// run does a job, and those that come while it waits for one.
func (r *stageRun[J]) run(t task[J]) {
	for {
		r.do(t)
		t = task[J]{} // nothing of it is kept meanwhile
		if !r.wait(1) {
			return
		}
		select {
		case t = <-r.next:
			r.wait(-1)
		case <-r.over:
			return
		}
	}
}

// do runs a job as soon as the stage has room; one that comes too late to be taken is run only to be handed back.
func (r *stageRun[J]) do(t task[J]) {
	defer r.count(-1)
	work, d := r.work, t.delivery
	release, err := r.Take(r.feed, &d.Job)
	t.line.next()
	if err != nil {
		release = func() {}
		var stop context.CancelCauseFunc
		work, stop = context.WithCancelCause(work)
		stop(ErrStopping)
	}
	defer release()
	r.Work(work, d, release)
}

// wait counts goroutines that wait; false: there are enough.
func (r *stageRun[J]) wait(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free+n > mostFree {
		return false
	}
	r.free += n
	return true
}

// sleep ends early with ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
