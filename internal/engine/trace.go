package engine

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// span starts the span of a call. The engine's own spans are below it.
func (c *Client) span(ctx context.Context, path string) (context.Context, trace.Span) {
	if _, silent := c.tracer.(noop.Tracer); silent { // its spans are those that were there before
		return ctx, trace.SpanFromContext(ctx)
	}
	ctx, span := c.tracer.Start(ctx, "POST "+path, trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		return ctx, span
	}
	span.SetAttributes(attribute.String("http.request.method", http.MethodPost), attribute.String("url.path", path))
	if u, err := url.Parse(c.url); err == nil {
		span.SetAttributes(attribute.String("server.address", u.Hostname()))
		if port, err := strconv.Atoi(u.Port()); err == nil {
			span.SetAttributes(attribute.Int("server.port", port))
		}
	}
	return ctx, span
}

// endSpan tells how a call ended. One that its caller gave up is no error of the engine.
func endSpan(ctx context.Context, span trace.Span, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	var status *StatusError
	switch {
	case err == nil:
		span.SetAttributes(attribute.Int("http.response.status_code", http.StatusOK))
		return
	case errors.As(err, &status):
		span.SetAttributes(attribute.Int("http.response.status_code", status.Status))
	case ctx.Err() != nil || errors.Is(err, errAbandoned):
		return
	}
	span.SetAttributes(attribute.String("error.type", string(Failure(err).Reason)))
	span.SetStatus(codes.Error, "")
}
