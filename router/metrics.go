package router

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests   *prometheus.CounterVec
	ttft       *prometheus.HistogramVec
	interToken *prometheus.HistogramVec
	seconds    *prometheus.HistogramVec
	queue      *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	attempts   prometheus.Histogram
	retries    *prometheus.CounterVec
	continued  prometheus.Counter
	rejected   *prometheus.CounterVec
	chores     *prometheus.CounterVec
	lingering  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	long := prometheus.ExponentialBuckets(0.01, 2, 18) // to 22 min: a full queue is a normal case
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_requests_total", Help: "Admitted requests by final state (done, failed, cancelled) and class.",
		}, []string{"outcome", "class"}),
		ttft: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "baton_request_ttft_seconds", Help: "Admission to the first piece of the answer.", Buckets: long,
		}, []string{"class"}),
		interToken: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "baton_request_inter_token_seconds", Help: "Time between two pieces of a streamed answer, as they reach the frontend.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"class"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "baton_request_seconds", Help: "Admission to the final state.", Buckets: long,
		}, []string{"class"}),
		queue: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "baton_request_queue_seconds", Help: "Admission to the first worker that takes the request.", Buckets: long,
		}, []string{"class"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_requests_in_flight", Help: "Requests from admission until their answer is closed.",
		}),
		attempts: f.NewHistogram(prometheus.HistogramOpts{
			Name: "baton_request_attempts", Help: "Tries of each request that reached its final state.", Buckets: prometheus.LinearBuckets(1, 1, 5),
		}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_request_retries_total", Help: "Tries that failed and were followed by another, by reason.",
		}, []string{"reason"}),
		continued: f.NewCounter(prometheus.CounterOpts{
			Name: "baton_request_continued_total", Help: "Tries that go on with a streamed answer of which the client had some.",
		}),
		rejected: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_admission_rejected_total", Help: "Requests that were not admitted, by reason.",
		}, []string{"why"}),
		chores: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_router_cleanup_failed_total", Help: "Jobs or stored bodies that nobody wants and that could not be removed; they end by age.",
		}, []string{"what"}),
		lingering: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_router_lingering_body_bytes", Help: "Bodies kept for decode workers after their requests were given up.",
		}),
	}
}
