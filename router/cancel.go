package router

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Kinds of chores, in metrics.
const (
	queuedJob  = "job"
	storedBody = "body"
)

const (
	maxChores    = 1 << 15 // what does not fit ends by its age in the queue or bucket
	choreWorkers = 4
	sweepEvery   = time.Second
)

// chore removes one thing that nobody wants, off the path of any request.
type chore struct {
	what string
	job  receipt
	ref  string // of a body
}

// drop has a queued job removed.
func (r *Router) drop(at receipt) {
	if at.key != "" {
		r.later(chore{what: queuedJob, job: at})
	}
}

// dropBody has a stored body deleted.
func (r *Router) dropBody(ref string) {
	if ref != "" {
		r.later(chore{what: storedBody, ref: ref})
	}
}

func (r *Router) later(c chore) {
	select {
	case r.chores <- c:
	default:
		r.metrics.chores.WithLabelValues(c.what).Inc()
	}
}

// clean does chores until ctx ends, then those that are left, within CleanupTimeout.
func (r *Router) clean(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var g sync.WaitGroup
	defer g.Wait()
	for range choreWorkers {
		g.Go(func() {
			for {
				select {
				case c := <-r.chores:
					r.do(work, c)
					continue
				default:
				}
				select {
				case c := <-r.chores:
					r.do(work, c)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.bodies.expire(now)
			for _, c := range r.inFlight() {
				c.lapsed(now)
			}
		case <-ctx.Done():
			timer := time.AfterFunc(r.cfg.CleanupTimeout, cancel)
			defer timer.Stop()
			g.Wait()
			return
		}
	}
}

func (r *Router) do(ctx context.Context, c chore) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CleanupTimeout)
	defer cancel()
	var err error
	switch c.what {
	case queuedJob:
		if c.job.seq != 0 {
			_, err = r.deps.Queue.Remove(ctx, c.job.seq)
		}
		// A dispatcher may hold it; one that does not hear of it has its worker find out. It is told
		// afterwards, or it could fetch the job in between.
		err = errors.Join(err, r.deps.Abandon(c.job.model, []string{c.job.key}))
	case storedBody:
		err = r.deps.Bodies.DeleteBody(ctx, c.ref)
	}
	if err != nil {
		r.metrics.chores.WithLabelValues(c.what).Inc()
		r.log.DebugContext(ctx, "not removed, it ends by its age", slog.String("what", c.what), slog.Any("error", err))
	}
}
