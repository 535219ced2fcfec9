package api

import (
	"context"
	"net/http"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var ofServer = trace.WithSpanKind(trace.SpanKindServer)

const traceHeader = "Traceparent" // W3C trace context

// trace gives each request that may reach an engine a span below the client's, and names it in the
// answer's header, so that whoever reads the answer finds the trace. What the client sent is dropped
// if it is malformed. Its tracestate always is: jobs do not carry one.
func (s *Server) trace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		ctx := r.Context()
		if sent := r.Header.Values(traceHeader); len(sent) == 1 {
			ctx = wire.WithTraceparent(ctx, sent[0])
		}
		rec := recordOf(ctx)
		ctx, span := s.deps.Tracer.Start(ctx, "HTTP POST", ofServer)
		if span.IsRecording() {
			span.SetAttributes(attribute.String("baton.request_id", rec.id), attribute.String("http.request.method", r.Method))
		}
		rec.traced, rec.span = span, span.SpanContext()
		if parent := wire.Traceparent(ctx); parent != "" {
			w.Header().Set(traceHeader, parent)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// endSpan ends the request's span, if it has one.
func (r *record) endSpan(ctx context.Context) {
	if r.traced == nil || !r.traced.IsRecording() {
		return
	}
	status := http.StatusOK
	if r.failed != nil {
		status = r.failed.Status
	}
	if status >= http.StatusInternalServerError {
		r.traced.SetStatus(codes.Error, http.StatusText(status))
		r.traced.SetAttributes(attribute.String("error.type", r.failed.Reason))
	}
	route := r.routeIn(ctx)
	r.traced.SetName("POST " + route)
	r.traced.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
	r.traced.End()
}

// routeIn is the pattern that the request's path matched.
func (r *record) routeIn(ctx context.Context) string {
	if r.route != "" {
		return r.route
	}
	if route := chi.RouteContext(ctx).RoutePattern(); route != "" {
		return route
	}
	return "none" // no such path or method
}
