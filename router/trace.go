package router

import (
	"context"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// operation is what OpenTelemetry calls what a path asks for; empty: it has no word for it.
func operation(path string) string {
	switch path {
	case "/v1/chat/completions", "/v1/messages", "/v1/responses":
		return "chat"
	case "/v1/completions":
		return "text_completion"
	case "/v1/embeddings":
		return "embeddings"
	}
	return ""
}

// startSpan begins a request's span. It alone has the gen_ai.* attributes, so that who adds them up counts a request
// once, however many engines had a part in it.
func (r *Router) startSpan(ctx context.Context, req *Request, now time.Time) trace.Span {
	op := operation(req.Path)
	_, span := r.deps.Tracer.Start(
		wire.WithTraceparent(ctx, req.Traceparent), strings.TrimSpace(op+" "+req.Model),
		trace.WithTimestamp(now), trace.WithSpanKind(trace.SpanKindClient),
	)
	if !span.IsRecording() {
		return span
	}
	span.SetAttributes(
		attribute.String("gen_ai.provider.name", "vllm"), attribute.String("gen_ai.request.model", req.Model),
		attribute.Bool("gen_ai.request.stream", req.Streaming),
		attribute.String("baton.request_id", req.ID), attribute.String("baton.class", req.Class.String()),
	)
	for key, value := range map[string]string{"gen_ai.operation.name": op, "baton.tenant": req.Tenant} {
		if value != "" {
			span.SetAttributes(attribute.String(key, value))
		}
	}
	if req.MaxTokens > 0 {
		span.SetAttributes(attribute.Int("gen_ai.request.max_tokens", req.MaxTokens))
	}
	return span
}

// enqueued begins the current attempt's time in the queue. It needs the lock.
func (c *call) enqueued(now time.Time) {
	ctx := trace.ContextWithSpan(context.Background(), c.span)
	if !c.span.IsRecording() { // nor is what is below it
		c.parent = wire.Traceparent(ctx)
		return
	}
	ctx, span := c.r.deps.Tracer.Start(
		ctx, "queue", trace.WithTimestamp(now), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String("baton.request_id", c.req.ID), attribute.Int64("baton.attempt", int64(c.attempt))),
	)
	c.queued, c.parent = span, wire.Traceparent(ctx)
}

// dequeue ends it, for a reason if no worker took the request. It needs the lock.
func (c *call) dequeue(now time.Time, reason string) {
	if c.queued == nil {
		return
	}
	if reason != "" {
		c.queued.SetAttributes(attribute.String("error.type", reason))
		c.queued.SetStatus(codes.Error, "")
	}
	c.queued.End(trace.WithTimestamp(now))
	c.queued = nil
}

// endSpan ends the request's span.
func (c *call) endSpan(is *Info) {
	if !c.span.IsRecording() {
		return
	}
	t := &is.Timing
	c.span.AddEvent(is.State.String(), trace.WithTimestamp(is.Since))
	c.span.SetAttributes(
		attribute.String("baton.outcome", is.State.String()), attribute.Int("baton.attempts", t.Attempts),
		attribute.String("baton.place", t.Place), attribute.String("baton.why", t.Why),
		attribute.Float64("baton.dispatch_seconds", t.Dispatch.Seconds()),
	)
	if is.State == Failed {
		c.span.SetStatus(codes.Error, "")
		c.span.SetAttributes(attribute.String("error.type", is.Reason))
	}
	if is.Streaming && t.FirstToken > 0 {
		c.span.SetAttributes(attribute.Float64("gen_ai.response.time_to_first_chunk", t.FirstToken.Seconds()))
	}
	for key, tokens := range map[string]int{
		"gen_ai.usage.input_tokens": is.Usage.PromptTokens, "gen_ai.usage.cache_read.input_tokens": is.Usage.CachedTokens,
		"gen_ai.usage.output_tokens": is.Usage.CompletionTokens,
	} {
		if tokens > 0 {
			c.span.SetAttributes(attribute.Int(key, tokens))
		}
	}
	c.span.End(trace.WithTimestamp(is.Since))
}
