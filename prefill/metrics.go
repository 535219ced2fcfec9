package prefill

import (
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	seconds  prometheus.Histogram
	jobs     *prometheus.CounterVec
	tokens   prometheus.Gauge
	noHandle prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		seconds: f.NewHistogram(histogram.Wait("baton_prefill_duration_seconds", "Engine call of a prefill job, answered with a handle.")),
		jobs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_prefill_jobs_total", Help: "Prefill jobs by how they ended here: done (handed over), cancelled, returned, or the reason of the failure.",
		}, []string{"outcome"}),
		tokens: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_prefill_tokens_in_flight", Help: "Prompt tokens at the engine, estimated.",
		}),
		noHandle: f.NewCounter(prometheus.CounterOpts{
			Name: "baton_prefill_no_handle_total", Help: "Prefill answers of status 200 without a KV handle: the engine is not configured for it.",
		}),
	}
}
