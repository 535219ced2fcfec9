package decode

import (
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
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "baton_decode_seconds", Help: "Decode jobs that ended well, from claim to the end of the answer.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 15),
		}),
		handover: f.NewHistogram(prometheus.HistogramOpts{
			Name: "baton_handover_seconds", Help: "Issue of a KV handle to its claim by a decode worker, by the clocks of both.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
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
