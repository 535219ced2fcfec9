package engine

import (
	"context"
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/histogram"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	return metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_engine_requests_total", Help: "Calls to the engine by kind (post, stream, models, health, metrics) and outcome (ok, cancelled, abandoned or the reason of the failure).",
		}, []string{"kind", "outcome"}),
		seconds: f.NewHistogramVec(histogram.Wait("baton_engine_request_duration_seconds", "Request to the end of the answer of calls to the engine."), []string{"kind"}),
	}
}

// errAbandoned is the outcome of a stream that was closed before its end.
var errAbandoned = errors.New("stream closed before its end")

func (m metrics) ended(kind string, start time.Time, err error, of trace.SpanContext) {
	outcome := "ok"
	switch {
	case err == nil:
	case errors.Is(err, errAbandoned):
		outcome = "abandoned"
	case errors.Is(err, context.Canceled):
		outcome = "cancelled"
	default:
		outcome = string(Failure(err).Reason)
	}
	m.requests.WithLabelValues(kind, outcome).Inc()
	histogram.Observe(m.seconds.WithLabelValues(kind), time.Since(start), of)
}
