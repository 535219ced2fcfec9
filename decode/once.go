package decode

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
)

// once knows the handles whose jobs have begun here, and nobody but this process reads them. The queue's count of deliveries
// does not tell that: a server that was killed has forgotten what it was told last, and delivers a job anew as for the first time.
type once struct {
	mu    sync.Mutex
	jobs  map[handle]*begun
	swept time.Time
}

// handle names one among those of all prefill workers.
type handle struct {
	worker string
	serial uint64
}

type begun struct {
	expires time.Time // from then on the lease refuses the handle
	over    bool      // the work has ended
}

func idOf(h *kvtransfer.Handle) handle { return handle{h.Worker, h.Serial} }

const sweepEvery = 10 * time.Second

// begin tells whether the handle's job has not begun before, and notes that now it has.
func (o *once) begin(h *kvtransfer.Handle, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.swept) >= sweepEvery {
		for id, b := range o.jobs {
			if b.over && now.After(b.expires) {
				delete(o.jobs, id)
			}
		}
		o.swept = now
	}
	if o.jobs[idOf(h)] != nil {
		return false
	}
	o.jobs[idOf(h)] = &begun{expires: h.Expires}
	return true
}

// end notes that the work has ended.
func (o *once) end(h *kvtransfer.Handle) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.jobs[idOf(h)].over = true
}

// over tells whether the work has ended.
func (o *once) over(h *kvtransfer.Handle) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.jobs[idOf(h)]
	return b == nil || b.over
}

// repeated drops a job that came again: the run that has begun speaks for it.
func (w *Worker) repeated(ctx context.Context, d *worker.Delivery[wire.DecodeJob]) {
	w.log.WarnContext(ctx, "job came again, dropped: its handle is read once", slog.String("request_id", d.Job.ID), slog.Int("attempt", int(d.Job.Attempt)))
	if w.once.over(d.Job.Handle) { // else its end is reported later
		w.deps.Reporter.Set(wire.JobReport{Key: d.Job.Request.MsgID(), Stage: wire.StageEnded})
	}
	w.metrics.jobs.WithLabelValues(string(wire.HandleUsed)).Inc()
	if err := d.Ack.Done(context.WithoutCancel(ctx)); err != nil { // the bus bounds it
		w.log.DebugContext(ctx, "job not acknowledged", slog.String("request_id", d.Job.ID), slog.Any("error", err))
	}
}
