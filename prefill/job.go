package prefill

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"go.opentelemetry.io/otel/trace"
)

// work runs one job to one of its ends: done (handed over), cancelled, returned to the queue, failed.
func (w *Worker) work(ctx context.Context, d *worker.Delivery[wire.PrefillJob], release func()) {
	job := &d.Job
	run := w.deps.Frames.Open(context.WithoutCancel(ctx), &job.Request)
	log := worker.JobLog(w.log, &job.Request)
	err := w.prefill(ctx, run, job, log, release)
	w.metrics.jobs.WithLabelValues(worker.Conclude(ctx, run, d, true, err, log)).Inc()
}

// prefill returns nil once the decode queue has the handle, a *worker.Error for the router, or the
// cause why the job was given up.
func (w *Worker) prefill(ctx context.Context, run worker.Run, job *wire.PrefillJob, log *slog.Logger, release func()) (err error) {
	bound, cancel := worker.Bound(ctx, run, &job.Request)
	defer cancel()
	bound, span := worker.TracePrefill(bound, w.deps.Tracer, job, w.id)
	defer func() { worker.EndSpan(span, err) }()

	issued := false
	defer func() {
		if !issued { // else the handle's end is the job's end here
			w.deps.Reporter.End(job.MsgID())
		}
	}()

	log.DebugContext(ctx, "prefilling")
	if err := run.Send(bound, wire.Prefilling, job.Assignment.Append(nil)); err != nil {
		return worker.Ended(bound, err)
	}
	body, err := w.body(bound, job)
	if err != nil {
		return err
	}
	handle, took, err := w.call(bound, job, body)
	release()
	if err != nil {
		return err
	}
	issued = true
	log.LogAttrs(ctx, slog.LevelDebug, "prefilled", slog.Duration("took", took), slog.Uint64("handle", handle.Serial))

	// From here the engine holds blocks: the decode job goes out even if nobody wants the answer,
	// because the decode leg is what frees them.
	next := &wire.DecodeJob{Request: job.Request, Worker: job.Assignment.Decode, Assignment: job.Assignment, Handle: handle}
	next.Traceparent = wire.Traceparent(bound)
	if job.BodyRef == "" && len(body) <= w.cfg.InlineBody {
		next.Body = body
	}
	if err := w.publish(ctx, next); err != nil {
		return err
	}
	info := wire.HandedInfo{
		Prefill: took, PromptTokens: handle.PromptTokens, CachedTokens: handle.CachedTokens,
		DecodeWorker: next.Worker, Lease: time.Until(handle.Expires),
	}
	if err := run.Send(run.Context(), wire.Handed, info.Append(nil)); err != nil {
		log.DebugContext(ctx, "nobody waits for the handle", slog.Any("error", err))
	}
	return nil
}

func (w *Worker) body(ctx context.Context, job *wire.PrefillJob) ([]byte, error) {
	body, err := worker.Body(ctx, w.cfg.BodyTimeout, w.deps.Bodies, &job.Request, job.Body)
	if err != nil && ctx.Err() != nil {
		return nil, worker.Ended(ctx, err)
	}
	if err != nil {
		return nil, worker.Failed(wire.BodyGone, err)
	}
	return body, nil
}

// call makes the engine call and enters its handle into the ledger.
func (w *Worker) call(ctx context.Context, job *wire.PrefillJob, body []byte) (*kvtransfer.Handle, time.Duration, error) {
	leg, err := w.deps.Connector.PreparePrefill(body)
	if err != nil {
		return nil, 0, worker.Failed(wire.EngineRejected, err)
	}
	start := time.Now()
	answer, err := w.deps.Engine.Post(ctx, engine.Call{Path: job.Path, RequestID: job.ID, Body: leg})
	if err != nil && ctx.Err() != nil {
		return nil, 0, worker.Ended(ctx, err)
	}
	if err != nil {
		return nil, 0, &worker.Error{Failure: engine.Failure(err), Err: err}
	}
	answered := time.Now()
	handle, err := w.deps.Connector.HandleFrom(answer)
	if errors.Is(err, kvtransfer.ErrNoHandle) {
		w.metrics.noHandle.Inc()
		return nil, 0, worker.Failed(wire.NoHandle, err)
	}
	if err != nil {
		return nil, 0, worker.Failed(wire.EngineError, err)
	}
	handle.Worker, handle.Engine, handle.RequestID, handle.Digest = w.id, w.deps.EngineURL, job.ID, job.Digest
	// The engine's clock for the lease started a moment before its answer came, which the decode
	// worker's margin covers, or before the answer was held up.
	issued := w.deps.Engine.Done(start, answered)
	handle.Issued, handle.Expires = issued, issued.Add(w.cfg.Lease)
	handle.Serial = w.deps.Ledger.Issue(issued, w.cfg.Lease)
	key := job.MsgID()
	w.opened(handle.Serial, key)
	tokens := handle.PromptTokens
	if tokens == 0 {
		tokens = w.estimate(job)
	}
	w.deps.Reporter.Set(wire.JobReport{Key: key, Stage: wire.StageHanded, Tokens: tokens, Cached: handle.CachedTokens, KV: tokens})
	w.learn(job.PromptTokens, handle.PromptTokens)
	histogram.Observe(w.metrics.seconds, answered.Sub(start), trace.SpanContextFromContext(ctx))
	return &handle, answered.Sub(start), nil
}

const (
	firstPause = 50 * time.Millisecond
	mostPause  = time.Second
)

// publish puts the decode job into its queue, again and again while the lease lasts. The queue bounds each try.
func (w *Worker) publish(ctx context.Context, job *wire.DecodeJob) error {
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		_, err := w.deps.Next.Publish(ctx, job)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(min(pause, time.Until(job.Handle.Expires))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !time.Now().Before(job.Handle.Expires) {
			return worker.Failed(wire.HandleExpired, err)
		}
	}
}
