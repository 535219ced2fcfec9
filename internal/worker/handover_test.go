package worker_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

// decodeQueue tells of what is queued.
type decodeQueue chan *wire.DecodeJob

func (q decodeQueue) Publish(_ context.Context, job *wire.DecodeJob) (bus.Receipt, error) {
	q <- job
	return bus.Receipt{Seq: 1}, nil
}

// A handle goes by a call to a decode worker of the same process that takes jobs, and else through the queue.
func TestHandoverIsACallWithinAProcess(t *testing.T) {
	queue := make(decodeQueue, 1)
	h := worker.NewHandover(queue)
	ctx, end := context.WithCancel(t.Context())
	taken := make(chan *worker.Delivery[wire.DecodeJob], 1)
	places, over := 1, make(chan struct{})
	go func() {
		defer close(over)
		h.Source("here")(ctx, func(d *worker.Delivery[wire.DecodeJob]) int {
			if places < 0 {
				return places
			}
			taken <- d
			return places
		})
	}()
	publish := func(to string) bool {
		t.Helper()
		at, err := h.Publish(t.Context(), &wire.DecodeJob{Worker: to})
		if err != nil {
			t.Fatal(err)
		}
		return at.Seq != 0
	}
	queued := func(why string) {
		t.Helper()
		select {
		case <-queue:
		default:
			t.Errorf("%s: the job is not in the queue", why)
		}
	}
	for publish("here") { // the source may not have begun
		<-queue
		runtime.Gosched()
	}
	d := <-taken
	if d.Job.Worker != "here" || d.Deliveries != 1 || d.Last {
		t.Errorf("taken: %+v", d)
	}
	if err := d.Ack.Finish(); err != nil || len(queue) > 0 {
		t.Errorf("a finished job: %v, %d in the queue", err, len(queue))
	}
	if !publish("elsewhere") {
		t.Error("a job for another process was not queued")
	}
	queued("another process")

	publish("here")
	if err := (<-taken).Ack.Retry(t.Context(), 0); err != nil {
		t.Error(err)
	}
	queued("handed back")

	places = -1
	publish("here")
	queued("no place")
	end()
	<-over
	publish("here")
	queued("stopped")
}
