package worker

import (
	"context"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// DecodeQueue is the queue of the decode workers. The same job published twice must be one job; one whose handle has
// expired leaves the queue.
type DecodeQueue interface {
	Publish(ctx context.Context, job *wire.DecodeJob) (bus.Receipt, error)
}

// Handover takes decode jobs from the prefill workers of a process: those for its own decode workers go there by a call,
// all others into the queue. In the queue a job would not outlive this process for long either: only its worker, which
// dies with whoever has published it, may read the handle. It is safe for concurrent use.
type Handover struct {
	queue DecodeQueue
	here  sync.Map // *inbox[wire.DecodeJob] by worker
}

// NewHandover returns the one Handover of a process.
func NewHandover(q DecodeQueue) *Handover { return &Handover{queue: q} }

// Source brings a worker's jobs by call, while it runs. Those that the queue has are another's matter.
func (h *Handover) Source(worker string) Source[wire.DecodeJob] {
	return func(ctx context.Context, take func(*Delivery[wire.DecodeJob]) int) {
		in := new(inbox[wire.DecodeJob])
		h.here.Store(worker, in)
		defer h.here.CompareAndDelete(worker, in)
		in.feed(ctx, take)
	}
}

// Publish hands a job over to its decode worker. It is kept by the queue where the worker is elsewhere or can take none now;
// a receipt without a number is of a job that was not queued. The body and the handle of job must not change any more.
func (h *Handover) Publish(ctx context.Context, job *wire.DecodeJob) (bus.Receipt, error) {
	if in, ok := h.here.Load(job.Worker); ok {
		d := &Delivery[wire.DecodeJob]{Job: *job, Deliveries: 1, Ack: handed{h.queue, job}}
		if in.(*inbox[wire.DecodeJob]).put(d) {
			return bus.Receipt{}, nil
		}
	}
	return h.queue.Publish(ctx, job)
}

// handed is the end of a job that no queue has.
type handed struct {
	queue DecodeQueue
	job   *wire.DecodeJob
}

func (handed) Done(context.Context) error { return nil }
func (handed) Finish() error              { return nil }

// Retry puts the job into the queue, which its worker may still look at.
func (d handed) Retry(ctx context.Context, _ time.Duration) error {
	_, err := d.queue.Publish(ctx, d.job)
	return err
}
