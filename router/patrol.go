package router

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	// lookAfter is how long a job is queued before it is looked for. The older a request is, the more time is
	// between two looks, up to lookAtLeast: each one costs the server a message.
	lookAfter   = 3 * time.Second
	lookAtLeast = 30 * time.Second
	// mostLooked bounds the jobs of one look, and with sweepEvery what looking costs the server.
	mostLooked = 256
)

// patrol looks for the jobs of queued requests until ctx ends. They can vanish while nobody has begun them: with a
// server that keeps them in memory, by their age, or because this frontend was cut off for so long that dispatchers
// took it for dead.
func (r *Router) patrol(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.look(ctx, now)
		case <-ctx.Done():
			return
		}
	}
}

// look asks for the jobs that were not looked for for the longest.
func (r *Router) look(ctx context.Context, now time.Time) {
	type due struct {
		*call
		at     receipt
		looked time.Time
	}
	var all []due
	for _, c := range r.inFlight() {
		c.mu.Lock()
		if c.waitsInQueue() && now.Sub(c.looked) >= c.patience(now) {
			all = append(all, due{c, c.job, c.looked})
		}
		c.mu.Unlock()
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b due) int { return cmp.Compare(a.looked.UnixNano(), b.looked.UnixNano()) })
	all = all[:min(len(all), mostLooked)]
	jobs := make(map[string]uint64, len(all))
	for _, d := range all {
		jobs[d.at.key] = d.at.seq
	}
	lost, err := r.deps.Queue.Lost(ctx, jobs)
	if err != nil {
		r.log.DebugContext(ctx, "queued jobs not looked for", slog.Any("error", err))
		return
	}
	for _, d := range all {
		d.found(d.at, !slices.Contains(lost, d.at.key), now)
	}
}

// patience is the time between two looks for the call's job. It needs the lock.
func (c *call) patience(now time.Time) time.Duration {
	if c.missed {
		return lookAfter
	}
	return min(max(lookAfter, now.Sub(c.admitted)/4), lookAtLeast)
}

// waitsInQueue tells whether nobody but the queue can have the request. It needs the lock.
func (c *call) waitsInQueue() bool { return c.state == Queued && !c.again && c.job.key != "" }

// found takes the result of a look for a job. Of one that a worker has just finished with, a frame may be on its way:
// only what is missed twice is lost, and tried again. That is no failure of anyone's, and does not count.
func (c *call) found(at receipt, there bool, now time.Time) {
	c.mu.Lock()
	var after func()
	if c.waitsInQueue() && c.job == at {
		if !there && c.missed {
			c.unborn++
			after = c.tryAgain(wire.Failure{Reason: wire.JobLost, Message: "the queue has lost the job"}, now)
		} else {
			c.looked, c.missed = now, !there
		}
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
}
