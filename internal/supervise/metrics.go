package supervise

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	starts prometheus.Counter
	ready  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, name string) metrics {
	f := promauto.With(reg)
	engine := prometheus.Labels{"engine": name}
	return metrics{
		starts: f.NewCounter(prometheus.CounterOpts{Name: "baton_supervise_starts_total", Help: "Starts of an engine; all but the first are restarts.", ConstLabels: engine}),
		ready:  f.NewGauge(prometheus.GaugeOpts{Name: "baton_supervise_ready", Help: "1 while the engine is ready.", ConstLabels: engine}),
	}
}
