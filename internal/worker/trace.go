package worker

import (
	"context"
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TracePrefill starts the span of a prefill, below the one that published its job.
func TracePrefill(ctx context.Context, tracer trace.Tracer, job *wire.PrefillJob, worker string) (context.Context, trace.Span) {
	return stage(wire.WithTraceparent(ctx, job.Traceparent), tracer, "prefill", &job.Request, job.Assignment, worker)
}

// TraceDecode starts the span of a decode: below the one that published its job, or below the hand-over of its handle,
// which is over with this and began, by the clock of the prefill worker, when the handle was issued.
func TraceDecode(ctx context.Context, tracer trace.Tracer, job *wire.DecodeJob, worker string) (context.Context, trace.Span) {
	ctx = wire.WithTraceparent(ctx, job.Traceparent)
	if h := job.Handle; h != nil && !silent(tracer) {
		now := time.Now()
		begun := h.Issued
		if begun.After(now) { // clocks differ
			begun = now
		}
		var handover trace.Span
		ctx, handover = tracer.Start(ctx, "handover", trace.WithTimestamp(begun), trace.WithAttributes(
			attribute.String("baton.request_id", job.ID),
			attribute.String("baton.from", h.Worker), attribute.String("baton.to", worker),
		))
		handover.End(trace.WithTimestamp(now))
	}
	return stage(ctx, tracer, "decode", &job.Request, job.Assignment, worker)
}

// silent tells whether the tracer's spans are those that were there before.
func silent(tracer trace.Tracer) bool {
	_, silent := tracer.(noop.Tracer)
	return silent
}

func stage(ctx context.Context, tracer trace.Tracer, name string, r *wire.Request, a *wire.Assignment, worker string) (context.Context, trace.Span) {
	if silent(tracer) {
		return ctx, trace.SpanFromContext(ctx)
	}
	ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindConsumer))
	if !span.IsRecording() {
		return ctx, span
	}
	span.SetAttributes(
		attribute.String("baton.request_id", r.ID), attribute.Int64("baton.attempt", int64(r.Attempt)), attribute.String("baton.worker", worker),
	)
	if a != nil {
		span.SetAttributes(attribute.String("baton.place", string(a.Place)), attribute.String("baton.why", a.Why))
	}
	return ctx, span
}

// EndSpan ends a stage's span. Of a failure it tells the reason and not the text, in which an engine may quote the prompt.
func EndSpan(span trace.Span, err error) {
	var failure *Error
	if errors.As(err, &failure) {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", string(failure.Failure.Reason)))
	}
	span.End()
}
