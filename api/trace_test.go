package api

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/baton-llm/baton/router"
)

func TestTraceGoesThrough(t *testing.T) {
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "{}"), nil }}
	s := New(DefaultConfig(), Deps{
		Router: r, Fleet: oneModel, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Tracer: provider.Tracer("test"),
	})
	for _, c := range []struct {
		name, path string
		sent       []string
		kept       bool
		span       string
		status     int64
	}{
		{"valid", chatPath, []string{"00-" + id + "-" + span + "-01"}, true, "POST " + chatPath, 200},
		{"of a later version", chatPath, []string{"01-" + id + "-" + span + "-01-more"}, true, "POST " + chatPath, 200},
		{"refused request", "/nothing", []string{"00-" + id + "-" + span + "-01"}, true, "POST none", 404},
		{"none", chatPath, nil, false, "POST " + chatPath, 200},
		{"words", chatPath, []string{"junk"}, false, "POST " + chatPath, 200},
		{"no trace", chatPath, []string{"00-" + strings.Repeat("0", 32) + "-" + span + "-01"}, false, "POST " + chatPath, 200},
		{"no version", chatPath, []string{"ff-" + id + "-" + span + "-01"}, false, "POST " + chatPath, 200},
		{"upper case", chatPath, []string{"00-" + strings.ToUpper(id) + "-" + span + "-01"}, false, "POST " + chatPath, 200},
		{"too long", chatPath, []string{"00-" + id + "-" + span + "-01-more"}, false, "POST " + chatPath, 200},
		{"two", chatPath, []string{"00-" + id + "-" + span + "-01", "00-" + id + "-" + span + "-01"}, false, "POST " + chatPath, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			spans.Reset()
			req := httptest.NewRequestWithContext(t.Context(), "POST", c.path, strings.NewReader(chatBody))
			req.Header["Traceparent"] = c.sent
			req.Header.Set("Tracestate", "vendor=value")
			resp := httptest.NewRecorder()
			s.Handler().ServeHTTP(resp, req)
			answered := resp.Header().Get("Traceparent")
			if got := strings.Contains(answered, id); got != c.kept || strings.Contains(answered, span) || len(answered) != len("00-"+id+"-"+span+"-01") {
				t.Errorf("the answer's traceparent is %q; the trace is the client's: %t, want %t", answered, got, c.kept)
			}
			if last := r.last.Load(); c.status == 200 && last.Traceparent != answered {
				t.Errorf("the router got %q, the answer %q", last.Traceparent, answered)
			}
			ended := spans.GetSpans()
			if len(ended) != 1 || ended[0].Name != c.span || len(ended[0].SpanContext.TraceState().String()) > 0 {
				t.Fatalf("spans are %+v, want one named %q without a tracestate", ended, c.span)
			}
			for _, a := range ended[0].Attributes {
				if a.Key == "http.response.status_code" && a.Value.AsInt64() != c.status {
					t.Errorf("the span's status is %d, want %d", a.Value.AsInt64(), c.status)
				}
			}
		})
	}
}
