package decode

import (
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	seconds  prometheus.Histogram
	handover prometheus.Histogram
	jobs     *prometheus.CounterVec
	running  prometheus.Gauge
	reserved prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		seconds:  f.NewHistogram(histogram.Wait("baton_decode_duration_seconds", "Decode jobs that ended well, from claim to the end of the answer.")),
		handover: f.NewHistogram(histogram.Wait("baton_handover_duration_seconds", "Issue of a KV handle to its claim by a decode worker, by the clocks of both.")),
		jobs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_decode_jobs_total", Help: "Decode jobs by how they ended here: done, cancelled, returned, or the reason of the failure.",
		}, []string{"outcome"}),
		running: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_decode_running", Help: "Decode jobs under way.",
		}),
		reserved: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_decode_kv_reserved_tokens", Help: "Tokens of the engine's KV cache that the jobs under way may need.",
		}),
	}
}
