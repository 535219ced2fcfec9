// Package workertest holds the fakes that the tests of both stages share.
package workertest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

// ErrCancelled is the cause of a run that Cancel ended.
var ErrCancelled = errors.New("cancelled by the test")

// Queue is a source of jobs in memory. Jobs put into it are counted as their stage takes and ends them.
type Queue[J any] struct {
	jobs chan *worker.Delivery[J]

	mu                   sync.Mutex
	taken, done, retried int
}

// NewQueue returns an empty queue.
func NewQueue[J any]() *Queue[J] { return &Queue[J]{jobs: make(chan *worker.Delivery[J], 1000)} }

// Put queues a job at its given delivery.
func (q *Queue[J]) Put(job J, deliveries int) { q.jobs <- q.Delivery(job, deliveries) }

// Delivery is a delivery of a job that was not put, and is counted as if it had been.
func (q *Queue[J]) Delivery(job J, deliveries int) *worker.Delivery[J] {
	return &worker.Delivery[J]{Job: job, Deliveries: deliveries, Ack: ack[J]{q}}
}

// Counts returns how many jobs the stage has taken into its line, finished and handed back.
func (q *Queue[J]) Counts() (taken, done, retried int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken, q.done, q.retried
}

// Source is a worker.Source.
func (q *Queue[J]) Source(ctx context.Context, take func(*worker.Delivery[J]) int) {
	for ctx.Err() == nil {
		select {
		case d := <-q.jobs:
			take(d)
			q.mu.Lock()
			q.taken++
			q.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

type ack[J any] struct{ q *Queue[J] }

func (a ack[J]) Done(context.Context) error {
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	a.q.done++
	return nil
}

func (a ack[J]) Finish() error { return a.Done(context.Background()) }

func (a ack[J]) Retry(context.Context, time.Duration) error {
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	a.q.retried++
	return nil
}

// Frames keeps what is sent, by request.
type Frames struct {
	OnOpen func(id string, cancel func()) // may cancel the run at once

	mu     sync.Mutex
	frames map[string][]wire.Frame
	cancel map[string]context.CancelCauseFunc
}

// NewFrames returns an empty Frames.
func NewFrames() *Frames {
	return &Frames{frames: map[string][]wire.Frame{}, cancel: map[string]context.CancelCauseFunc{}}
}

// Open implements worker.Frames.
func (f *Frames) Open(ctx context.Context, r *wire.Request) worker.Run {
	ctx, cancel := context.WithCancelCause(ctx)
	f.mu.Lock()
	f.cancel[r.ID] = cancel
	f.mu.Unlock()
	if f.OnOpen != nil {
		f.OnOpen(r.ID, func() { cancel(ErrCancelled) })
	}
	return &run{Frames: f, id: r.ID, ctx: ctx, cancel: cancel}
}

// Cancel ends the run of a request, if there is one, as its frontend would.
func (f *Frames) Cancel(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel := f.cancel[id]; cancel != nil {
		cancel(ErrCancelled)
	}
}

// Of returns the frames of a request.
func (f *Frames) Of(id string) []wire.Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frames[id]
}

// Reason returns why the request failed; "" if its last frame is no Fail.
func (f *Frames) Reason(id string) wire.Reason {
	frames := f.Of(id)
	if len(frames) == 0 || frames[len(frames)-1].Kind != wire.Fail {
		return ""
	}
	var failure wire.Failure
	if err := json.Unmarshal(frames[len(frames)-1].Payload, &failure); err != nil {
		return wire.Reason(err.Error())
	}
	return failure.Reason
}

// Portion is what a Data frame has at most.
const Portion = 1 << 10

type run struct {
	*Frames
	id     string
	ctx    context.Context //nolint:containedctx // as relay.Run
	cancel context.CancelCauseFunc
}

func (r *run) Context() context.Context { return r.ctx }
func (r *run) Close()                   { r.cancel(nil) }

func (r *run) Send(ctx context.Context, kind wire.Kind, payload []byte) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if kind == wire.Data && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames[r.id] = append(r.frames[r.id], wire.Frame{Kind: kind, Payload: append([]byte(nil), payload...)})
	return nil
}

func (r *run) SendAhead(ctx context.Context, kind wire.Kind, payload []byte) error {
	return r.Send(ctx, kind, payload)
}

// Portion is as small as tests need it to see frames that are full.
func (r *run) Portion() int { return Portion }

// Reports keeps what stages tell the dispatchers.
type Reports struct {
	mu   sync.Mutex
	said map[string][]wire.JobReport // by key
	gaps []time.Duration
}

// NewReports returns an empty Reports.
func NewReports() *Reports { return &Reports{said: map[string][]wire.JobReport{}} }

// Set keeps one report.
func (r *Reports) Set(j wire.JobReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said[j.Key] = append(r.said[j.Key], j)
}

// End keeps the end of a job.
func (r *Reports) End(key string) { r.Set(wire.JobReport{Key: key, Stage: wire.StageEnded}) }

// Gap keeps the times between tokens.
func (r *Reports) Gap(d time.Duration, tokens int, _ time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, slices.Repeat([]time.Duration{d / time.Duration(tokens)}, tokens)...)
}

// Of returns what was said of a job, in order.
func (r *Reports) Of(key string) []wire.JobReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said[key])
}

// Stages returns the stages that were said of a job, in order, in words.
func (r *Reports) Stages(key string) string {
	var stages []string
	for _, j := range r.Of(key) {
		stages = append(stages, string(j.Stage))
	}
	return strings.Join(stages, " ")
}

// Gaps returns the times between tokens.
func (r *Reports) Gaps() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gaps)
}

// Bodies answers requests for bodies from a map: references and body subjects.
type Bodies map[string][]byte

// GetBody implements worker.Bodies.
func (b Bodies) GetBody(ctx context.Context, ref string) ([]byte, error) {
	return b.Request(ctx, ref, nil)
}

// Request implements worker.Bodies.
func (b Bodies) Request(_ context.Context, subject string, _ []byte) ([]byte, error) {
	body, ok := b[subject]
	if !ok {
		return nil, errors.New("nobody answers")
	}
	return body, nil
}
