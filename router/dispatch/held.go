package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

const (
	// jobOverhead is what a job costs in memory beside its body.
	jobOverhead = 1 << 10
	// orphanAfter is for how long nobody hears of a frontend until its jobs are dropped. One that is only
	// slow, or cut off for a moment, still has its clients: workers wait as long for it (relay.give_up).
	orphanAfter = 15 * time.Second
	// handBackTime bounds the return of what a dispatcher holds when it ends.
	handBackTime = 2 * time.Second
)

// count keeps the size of what is held.
func (l *lane) count(n int64, d *Delivery) {
	l.held.Add(n)
	l.bytes.Add(n * int64(len(d.Job.Body)+jobOverhead))
	l.d.metrics.held.Add(float64(n))
	if n < 0 {
		notify(l.room)
	}
}

// add gives a job to the law. One that is there already came again because the server has not heard of
// it for too long: what was known of it is void.
func (l *lane) add(d *Delivery) {
	j := &d.Job
	key := j.MsgID()
	if old := l.queued[key]; old != nil {
		old.Forget()
		l.count(-1, old)
	}
	l.queued[key] = d
	l.law.Add(&schedule.Job{
		Key: key, Frontend: j.Frontend, Tenant: j.Tenant, Class: j.Class, Admitted: j.Admitted, Deadline: j.Deadline,
		Tokens: j.PromptTokens, MaxTokens: j.MaxTokens, Whole: j.Whole, Prefix: j.Prefix, Avoid: j.Avoid, Ref: d,
	}, time.Now())
}

func deliveryOf(j *schedule.Job) *Delivery { return j.Ref.(*Delivery) }

// let takes a job out of what is held.
func (l *lane) let(j *schedule.Job) {
	delete(l.queued, j.Key)
	l.count(-1, deliveryOf(j))
}

// drop takes a job that nobody wants out of the queue.
func (l *lane) drop(ctx context.Context, j *schedule.Job, reason string) {
	d := deliveryOf(j)
	l.let(j)
	l.d.metrics.dropped.WithLabelValues(reason).Inc()
	if err := d.Drop(ctx); err != nil {
		l.log.DebugContext(ctx, "job not dropped, it comes again after ack_wait", slog.Any("error", err))
	}
}

// orphans drops the jobs of frontends that are dead, also of those that died before this process came.
func (l *lane) orphans(ctx context.Context, alive []wire.Announcement, now time.Time) {
	heard := make(map[string]bool, len(alive))
	for _, a := range alive {
		heard[a.ID] = true
	}
	wanted := map[string]bool{}
	for _, d := range l.queued {
		f := d.Job.Frontend
		if heard[f] || wanted[f] {
			continue
		}
		wanted[f] = true
		if l.missing[f].IsZero() {
			l.missing[f] = now
		}
	}
	for f, since := range l.missing {
		switch {
		case !wanted[f]:
			delete(l.missing, f)
		case now.Sub(since) >= orphanAfter:
			gone := l.law.RemoveFrontend(f)
			l.log.InfoContext(ctx, "jobs of a dead frontend dropped", slog.String("frontend", f), slog.Int("jobs", len(gone)))
			for _, j := range gone {
				l.drop(ctx, j, frontendGone)
			}
		}
	}
}

// handBack returns what is held when the lane has ended, so that another frontend's dispatcher has it
// at once.
func (l *lane) handBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTime)
	defer cancel()
	for _, d := range l.queued {
		l.giveBack(ctx, d)
	}
	clear(l.queued)
}

func (l *lane) giveBack(ctx context.Context, d *Delivery) {
	l.count(-1, d)
	if err := d.Retry(ctx, 0); err != nil {
		l.log.DebugContext(ctx, "job not handed back, it comes again after ack_wait", slog.Any("error", err))
	}
}
