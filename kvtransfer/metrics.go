package kvtransfer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	issued prometheus.Counter
	ended  *prometheus.CounterVec
	open   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	m := metrics{
		issued: f.NewCounter(prometheus.CounterOpts{
			Name: "baton_kv_handles_issued_total", Help: "KV handles that the prefill engine issued.",
		}),
		ended: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_kv_handles_ended_total", Help: "KV handles by how they ended: consumed, released or expired.",
		}, []string{"end"}),
		open: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_kv_handles_open", Help: "KV handles that were issued and have not ended.",
		}),
	}
	for _, end := range []End{Consumed, Released, Expired} {
		m.ended.WithLabelValues(string(end))
	}
	return m
}
