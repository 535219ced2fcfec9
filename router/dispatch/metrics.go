package dispatch

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	assigned *prometheus.CounterVec
	wait     *prometheus.HistogramVec
	dropped  *prometheus.CounterVec
	lost     prometheus.Counter
	held     prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		assigned: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_dispatch_assigned_total", Help: "Jobs assigned to a worker, by placement and the rule that chose it.",
		}, []string{"place", "why"}),
		wait: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "baton_dispatch_wait_seconds", Help: "Admission of a request to the decision about its place.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 22),
		}, []string{"class"}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_dispatch_dropped_total", Help: "Jobs dropped before they were assigned.",
		}, []string{"reason"}),
		lost: f.NewCounter(prometheus.CounterOpts{
			Name: "baton_dispatch_reports_lost_total", Help: "Workers' reports that could not be taken; the next full one mends the books.",
		}),
		held: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_dispatch_held_jobs", Help: "Queued jobs that this process holds to choose from; 0 in all but one frontend.",
		}),
	}
}
