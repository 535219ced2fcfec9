package router

import (
	"time"

	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of one router. The label model is one that a worker announced: others are refused before.
type metrics struct {
	requests   *prometheus.CounterVec
	slo        *prometheus.CounterVec
	tokens     *prometheus.CounterVec
	ttft       *prometheus.HistogramVec
	tpot       *prometheus.HistogramVec
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
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests:   counter("baton_requests_total", "Admitted requests by final state (done, failed, cancelled), class and model.", "outcome", "class", "model"),
		slo:        counter("baton_request_slo_total", "Admitted requests that clients stayed for, by verdict: met, late (first token), slow (tokens after it) or failed.", "verdict", "class", "model"),
		tokens:     counter("baton_request_tokens_total", "Tokens of requests that are done, as engines counted, by kind: prompt, cached (part of prompt) or completion.", "kind", "model"),
		ttft:       f.NewHistogramVec(histogram.Wait("baton_request_time_to_first_token_seconds", "Admission to the first piece of a streamed answer."), []string{"class", "model"}),
		tpot:       f.NewHistogramVec(histogram.PerToken("baton_request_time_per_output_token_seconds", "Mean time per token after the first one, of each streamed answer that is done."), []string{"class", "model"}),
		interToken: f.NewHistogramVec(histogram.PerToken("baton_request_inter_token_seconds", "Time between two arrivals of tokens of a streamed answer at the frontend; tokens that come together are one arrival."), []string{"class"}),
		seconds:    f.NewHistogramVec(histogram.Wait("baton_request_duration_seconds", "Admission to the final state."), []string{"class", "model"}),
		queue:      f.NewHistogramVec(histogram.Wait("baton_request_queue_seconds", "Admission to the first worker that takes the request."), []string{"class"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_requests_in_flight", Help: "Requests from admission until their answer is closed.",
		}),
		attempts:  f.NewHistogram(histogram.Of("baton_request_attempts", "Tries of each request that reached its final state.", prometheus.LinearBuckets(1, 1, 5))),
		retries:   counter("baton_request_retries_total", "Tries that failed and were followed by another, by reason.", "reason"),
		continued: f.NewCounter(prometheus.CounterOpts{Name: "baton_request_continued_total", Help: "Tries that go on with a streamed answer of which the client had some."}),
		rejected:  counter("baton_admission_rejected_total", "Requests that were not admitted, by reason.", "reason"),
		chores:    counter("baton_router_cleanup_failed_total", "Jobs or stored bodies that nobody wants and that could not be removed; they end by age.", "what"),
		lingering: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_router_lingering_body_bytes", Help: "Bodies kept for decode workers after their requests were given up.",
		}),
	}
	for _, what := range []string{queuedJob, storedBody} {
		m.chores.WithLabelValues(what)
	}
	for _, pool := range []string{everyClass, wire.Interactive.String(), wire.Standard.String(), wire.Batch.String()} {
		m.rejected.WithLabelValues(pool + "_" + ofRequests)
		m.rejected.WithLabelValues(pool + "_" + ofBytes)
	}
	return m
}

var (
	waiting = prometheus.NewDesc("baton_requests_waiting", "Requests of this frontend that no worker has, by class.", []string{"class"}, nil)
	oldest  = prometheus.NewDesc("baton_requests_oldest_wait_seconds", "How long the request that waits longest has no worker, by class; 0: none waits.", []string{"class"}, nil)
)

// line exports who waits, when it is asked for.
type line struct{ r *Router }

// Describe implements prometheus.Collector.
func (line) Describe(out chan<- *prometheus.Desc) {
	out <- waiting
	out <- oldest
}

// Collect implements prometheus.Collector.
func (l line) Collect(out chan<- prometheus.Metric) {
	now := time.Now()
	var n [wire.Batch + 1]int
	var longest [wire.Batch + 1]time.Duration
	for _, c := range l.r.inFlight() {
		c.mu.Lock()
		queued, since := c.state == Queued, c.since
		c.mu.Unlock()
		if queued {
			n[c.req.Class]++
			longest[c.req.Class] = max(longest[c.req.Class], now.Sub(since))
		}
	}
	for class := range n {
		name := wire.Class(class).String()
		out <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(n[class]), name)
		out <- prometheus.MustNewConstMetric(oldest, prometheus.GaugeValue, longest[class].Seconds(), name)
	}
}
