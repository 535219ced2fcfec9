// Package histogram holds what all of baton's histograms have in common: classic buckets, which every Prometheus
// reads, native ones for those that ask for them, and exemplars that lead from a bucket to a trace.
package histogram

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Native buckets grow by at most a tenth, which 160 of them carry from a millisecond to a quarter of an hour. One
// that needs more starts anew at most once in an hour, and is coarser until then.
const (
	nativeFactor = 1.1
	nativeMost   = 160
	nativeReset  = time.Hour
)

// Wait is for times that people or GPUs wait, from a millisecond to the length of a full queue. Up to 10 s the buckets
// are those that OpenTelemetry recommends for gen_ai.server.time_to_first_token.
func Wait(name, help string) prometheus.HistogramOpts {
	return Of(name, help, []float64{
		.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 320, 640, 1280,
	})
}

// PerToken is for times between tokens. From 10 ms the buckets are those that OpenTelemetry recommends for
// gen_ai.server.time_per_output_token.
func PerToken(name, help string) prometheus.HistogramOpts {
	return Of(name, help, []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5})
}

// Of has the classic buckets that are given.
func Of(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMost, NativeHistogramMinResetDuration: nativeReset,
	}
}

// Observe adds a value in seconds. If the trace that it belongs to is sampled, the bucket names it.
func Observe(in prometheus.Observer, took time.Duration, of trace.SpanContext) {
	if e, ok := in.(prometheus.ExemplarObserver); ok && of.IsSampled() {
		e.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": of.TraceID().String()})
		return
	}
	in.Observe(took.Seconds())
}
