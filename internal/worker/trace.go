package worker

import (
	"context"

	"github.com/baton-llm/baton/internal/wire"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Trace starts a span below the one that published the job and returns the trace context to
// hand to the engine.
func Trace(ctx context.Context, tracer trace.Tracer, name string, r *wire.Request) (_ context.Context, span trace.Span, traceparent string) {
	var w3c propagation.TraceContext
	ctx = w3c.Extract(ctx, propagation.MapCarrier{"traceparent": r.Traceparent})
	ctx, span = tracer.Start(ctx, name, trace.WithAttributes(
		attribute.String("baton.request_id", r.ID),
		attribute.Int64("baton.attempt", int64(r.Attempt)),
	))
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return ctx, span, carrier["traceparent"]
}
