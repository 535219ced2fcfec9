package api

import (
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	tokens      *prometheus.CounterVec
	refused     *prometheus.CounterVec
	connections prometheus.Gauge
	bodyBytes   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_http_requests_total",
			Help: "HTTP requests by route and status; 499: the client left; a stream that broke off counts as its error, not as the 200 it began with.",
		}, []string{"route", "status"}),
		seconds: f.NewHistogramVec(histogram.Wait(
			"baton_http_request_duration_seconds", "HTTP requests, from the header to the last byte of the answer.",
		), []string{"route"}),
		tokens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_api_tenant_tokens_total",
			Help: "Tokens that tenants of the API were charged in the end, by kind: prompt or completion.",
		}, []string{"tenant", "kind"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_api_refused_total",
			Help: "Requests refused for their API key or its limits, by tenant (empty: no valid key) and reason.",
		}, []string{"tenant", "reason"}),
		connections: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_http_connections", Help: "Connections of clients, idle ones included; api.max_connections bounds them.",
		}),
		bodyBytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "baton_http_body_bytes", Help: "Memory of request bodies that are being read; api.max_body_memory bounds it.",
		}),
	}
}
