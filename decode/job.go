package decode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/kvtransfer"
	"go.opentelemetry.io/otel/trace"
)

// attempt is one job under way.
type attempt struct {
	*Worker
	run      worker.Run
	job      *wire.DecodeJob
	log      *slog.Logger
	span     trace.SpanContext
	told     bool         // the answer has begun: no other worker can do the job from its start
	counted  wire.EndInfo // by the engine, of an answer that is complete
	called   time.Time    // when the engine was called last
	last     time.Time    // when the last events of a stream came
	counting bool         // the engine was asked for usage that the client did not ask for
}

// work runs one job to one of its ends: done, cancelled, returned to the queue, failed.
func (w *Worker) work(ctx context.Context, d *worker.Delivery[wire.DecodeJob], _ func()) {
	job := &d.Job
	if job.Handle != nil && !w.once.begin(job.Handle, time.Now()) {
		w.repeated(ctx, d)
		return
	}
	a := &attempt{
		Worker: w, job: job, run: w.deps.Frames.Open(context.WithoutCancel(ctx), &job.Request),
		log: worker.JobLog(w.log, &job.Request),
	}
	if !job.Whole {
		taken := *d
		taken.Ack = early{d.Ack.Finish()}
		d = &taken
	}
	start := time.Now()
	err := a.decode(ctx, d.Deliveries)
	if job.Handle != nil {
		w.once.end(job.Handle) // before the report: whoever comes again later reports by itself
	}
	w.deps.Reporter.Set(wire.JobReport{
		Key: job.Request.MsgID(), Stage: wire.StageEnded, Tokens: a.counted.PromptTokens, Cached: a.counted.CachedTokens,
	})
	// A handle's second delivery would be refused, so the router must hear of a stopped job.
	back := job.Whole && !a.told
	w.metrics.jobs.WithLabelValues(worker.Conclude(ctx, a.run, d, back, err, a.log)).Inc()
	if err == nil {
		histogram.Observe(w.metrics.seconds, time.Since(start), a.span)
	}
}

// early is the acknowledgement of a job that has a handle, sent when the work begins. Nobody but this process may
// read the handle, and only once, and this process knows it again: a job that stayed in the queue could be done by nobody
// else, and would outlive a worker that is killed.
type early struct{ err error }

// Done returns what has become of it.
func (e early) Done(context.Context) error { return e.err }

// Finish is Done.
func (e early) Finish() error { return e.err }

// Retry is Done: there is no way back.
func (e early) Retry(context.Context, time.Duration) error { return e.err }

// decode returns nil once the End frame is sent, a *worker.Error for the router, or the cause why
// the job was given up.
func (a *attempt) decode(stop context.Context, deliveries int) (err error) {
	ctx, cancel := worker.Bound(stop, a.run, &a.job.Request)
	defer cancel()
	ctx, span := worker.TraceDecode(ctx, a.deps.Tracer, a.job, a.id)
	a.span = span.SpanContext()
	defer func() { worker.EndSpan(span, err) }()

	a.log.LogAttrs(ctx, slog.LevelDebug, "decoding", slog.Bool("whole", a.job.Whole))
	// The error of a run that nobody wants shows again below, after the handle is seen to.
	_ = a.run.Send(ctx, wire.Decoding, a.job.Assignment.Append(nil))
	if h := a.job.Handle; h != nil {
		histogram.Observe(a.metrics.handover, time.Since(h.Issued), a.span)
		if err := a.usable(deliveries); err != nil {
			return err
		}
	}
	body, err := a.body(ctx)
	if err != nil {
		return err
	}
	if body, err = a.leg(body); err != nil {
		return err
	}
	if ctx.Err() != nil {
		a.release(ctx, body)
		return worker.Ended(ctx, nil)
	}
	info, err := a.answer(ctx, engine.Call{Path: a.job.Path, RequestID: a.job.ID, Body: body})
	if err != nil {
		if ctx.Err() != nil && !a.told {
			a.notify(wire.HandleReleased) // closing the call made the engines free the blocks
		}
		return err
	}
	a.counted = info
	if err := a.run.Send(ctx, wire.End, info.Append(nil)); err != nil {
		return worker.Ended(ctx, err)
	}
	a.log.LogAttrs(ctx, slog.LevelDebug, "decoded", slog.Int("completion_tokens", info.CompletionTokens))
	return nil
}

// leg makes the body of the decode leg from the client's.
func (a *attempt) leg(body []byte) (_ []byte, err error) {
	switch {
	case !a.cfg.CountUsage || !a.job.Streaming || !generates(a.job.Path):
	case a.job.Counts:
		body, err = askRunning(body)
	case !a.job.Usage:
		body, a.counting, err = askUsage(body)
	}
	if err != nil {
		return nil, worker.Failed(wire.EngineRejected, err)
	}
	if a.job.Handle == nil {
		return body, nil
	}
	if body, err = a.deps.Connector.PrepareDecode(body, a.job.Handle); err != nil {
		return nil, worker.Failed(wire.EngineError, err)
	}
	// The wait for the body counts: look at the lease last.
	return body, a.leased()
}

// generates tells whether a path's streams take stream_options.
func generates(path string) bool {
	return path == "/v1/chat/completions" || path == "/v1/completions"
}

// answer makes the engine call and passes its answer on.
func (a *attempt) answer(ctx context.Context, call engine.Call) (wire.EndInfo, error) {
	a.called = time.Now()
	if a.job.Streaming {
		return a.stream(ctx, call)
	}
	return a.post(ctx, call)
}

// usable refuses a handle that may have been read, belongs to another body, or whose lease ends
// too soon. Nothing tells the prefill worker: its lease ends by itself.
func (a *attempt) usable(deliveries int) error {
	if deliveries > 1 {
		return worker.Failed(wire.HandleUsed, fmt.Errorf("handle came with delivery %d, an earlier one may have read it", deliveries))
	}
	return a.leased()
}

func (a *attempt) leased() error {
	switch err := a.job.Handle.Check(time.Now(), a.job.Digest, a.cfg.LeaseMargin); {
	case err == nil:
		return nil
	case errors.Is(err, kvtransfer.ErrExpired):
		return worker.Failed(wire.HandleExpired, err)
	default:
		return worker.Failed(wire.HandleMismatch, err)
	}
}

// pause is a silence of an engine, which is asked each second whether it lives, that is no coincidence.
const pause = 2 * time.Second

// readInTime refuses an answer whose first event came at now if the engine may have read the KV cache after the blocks
// had become another's. One that came while the lease lasted was read in time; and so was a later one if the engine had
// the request then, since it renews the lease while it waits, unless it was frozen meanwhile.
func (a *attempt) readInTime(now time.Time) error {
	h := a.job.Handle
	if h == nil || now.Before(h.Expires) {
		return nil
	}
	longest, atEnd := a.deps.Engine.Silence(a.called, h.Expires.Add(-a.cfg.LeaseMargin), h.Expires)
	if atEnd < pause && longest < h.Expires.Sub(h.Issued)/2 {
		return nil
	}
	return worker.Failed(wire.HandleExpired, fmt.Errorf("nothing was heard of the engine for %v while the lease of the handle ended: it may have read another's blocks", longest))
}

// body fetches the body even for a run that is cancelled already: a handle can be released only
// by a true decode leg. Without the body the blocks stay until the lease ends, and the prefill
// worker's ledger says expired.
func (a *attempt) body(ctx context.Context) ([]byte, error) {
	body, err := worker.Body(context.WithoutCancel(ctx), a.cfg.BodyTimeout, a.deps.Bodies, &a.job.Request, a.job.Body)
	switch {
	case err == nil:
		return body, nil
	case ctx.Err() != nil:
		return nil, worker.Ended(ctx, err)
	case errors.Is(err, worker.ErrBodyOther):
		return nil, worker.Failed(wire.HandleMismatch, err)
	default:
		return nil, worker.Failed(wire.BodyGone, err)
	}
}

// releaseTime bounds a decode leg that is sent only to be dropped.
const releaseTime = 2 * time.Second

// release sends the decode leg and drops it, which makes the engines free the handle's blocks.
func (a *attempt) release(ctx context.Context, body []byte) {
	if a.job.Handle == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	call := engine.Call{Path: a.job.Path, RequestID: a.job.ID, Body: body}
	var err error
	if a.job.Streaming {
		var s Stream
		if s, err = a.deps.Engine.Stream(ctx, call); err == nil {
			err = s.Close()
		}
	} else {
		_, err = a.deps.Engine.Post(ctx, call)
	}
	if err != nil && ctx.Err() == nil { // at the time limit the engine has the request
		a.log.DebugContext(ctx, "handle not released, its lease will end", slog.Any("error", err))
		return
	}
	a.notify(wire.HandleReleased)
}

// notify tells the worker that issued the handle how it ended.
func (a *attempt) notify(end wire.ControlKind) {
	if h := a.job.Handle; h != nil {
		a.deps.Notify(h.Worker, wire.Control{Kind: end, Run: h.Serial})
	}
}
