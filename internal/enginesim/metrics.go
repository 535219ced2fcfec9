package enginesim

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the engine's, under vLLM's names, on a registry of their own.
type metrics struct {
	registry     *prometheus.Registry
	prompt       prometheus.Counter
	sources      *prometheus.CounterVec
	firstToken   prometheus.Histogram
	interToken   prometheus.Histogram
	transferred  prometheus.Histogram
	transferTime prometheus.Histogram
}

func newMetrics(e *Engine) *metrics {
	registry := prometheus.NewRegistry()
	f := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"model_name": e.cfg.Model, "engine": "0"}, registry))
	gauge := func(name, help string, of func(Stats) float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return of(e.Stats()) })
	}
	counter := func(name, help string, of func(Stats) int) {
		f.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(e.Stats())) })
	}
	capacity := float64(e.pool.size() * e.cfg.BlockSize)
	gauge("vllm:num_requests_running", "Number of requests in model execution batches.", func(s Stats) float64 { return float64(s.Running) })
	gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", func(s Stats) float64 { return float64(s.Waiting) })
	gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", func(s Stats) float64 { return float64(s.KVUsedTokens) / capacity })
	counter("vllm:generation_tokens_total", "Number of generation tokens processed.", func(s Stats) int { return s.Generated })
	counter("vllm:num_preemptions_total", "Cumulative number of preemptions from the engine.", func(s Stats) int { return s.Preemptions })
	counter("vllm:prefix_cache_queries_total", "Prefix cache queries, in terms of number of queried tokens.", func(s Stats) int { return s.PrefixQueries })
	counter("vllm:prefix_cache_hits_total", "Prefix cache hits, in terms of number of cached tokens.", func(s Stats) int { return s.PrefixHits })
	counter("vllm:external_prefix_cache_hits_total", "Prompt tokens whose KV cache came from another engine.", func(s Stats) int { return s.ExternalHits })
	counter("vllm:nixl_num_kv_expired_reqs_total", "Number of requests that had their KV expire.", func(s Stats) int { return s.Expired })
	counter("vllm:nixl_num_notifications_after_expiry_total", "Number of KV caches that were read after their lease.", func(s Stats) int { return s.StaleReads })
	counter("vllm:nixl_num_failed_transfers_total", "Number of failed NIXL KV cache transfers.", func(s Stats) int { return s.FailedPulls })
	f.NewGauge(prometheus.GaugeOpts{Name: "vllm:cache_config_info", Help: "Information of the LLMEngine CacheConfig.", ConstLabels: prometheus.Labels{
		"block_size": strconv.Itoa(e.cfg.BlockSize), "num_gpu_blocks": strconv.Itoa(e.pool.size()), "enable_prefix_caching": "True",
	}}).Set(1)
	seconds := []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
	return &metrics{
		registry:     registry,
		prompt:       f.NewCounter(prometheus.CounterOpts{Name: "vllm:prompt_tokens_total", Help: "Number of prefill tokens processed."}),
		sources:      f.NewCounterVec(prometheus.CounterOpts{Name: "vllm:prompt_tokens_by_source_total", Help: "Number of prompt tokens by where their keys and values came from."}, []string{"source"}),
		firstToken:   f.NewHistogram(prometheus.HistogramOpts{Name: "vllm:time_to_first_token_seconds", Help: "Histogram of time to first token in seconds.", Buckets: seconds}),
		interToken:   f.NewHistogram(prometheus.HistogramOpts{Name: "vllm:inter_token_latency_seconds", Help: "Histogram of inter-token latency in seconds.", Buckets: seconds}),
		transferTime: f.NewHistogram(prometheus.HistogramOpts{Name: "vllm:nixl_xfer_time_seconds", Help: "Time from the start of reading a KV cache to its end.", Buckets: seconds}),
		transferred:  f.NewHistogram(prometheus.HistogramOpts{Name: "vllm:nixl_bytes_transferred", Help: "Histogram of bytes transferred per NIXL KV Cache transfers.", Buckets: prometheus.ExponentialBuckets(2048, 4, 14)}),
	}
}

// token counts a token that came now, in real time.
func (m *metrics) token(s *sequence, now time.Time) {
	if s.produced == 1 {
		m.prompt.Add(float64(s.prompt.tokens))
		m.sources.WithLabelValues("local_cache_hit").Add(float64(s.found))
		m.sources.WithLabelValues("external_kv_transfer").Add(float64(s.external))
		m.sources.WithLabelValues("local_compute").Add(float64(s.prompt.tokens - s.found - s.external))
		m.firstToken.Observe(now.Sub(s.submitted).Seconds())
		return
	}
	m.interToken.Observe(now.Sub(s.lastSeen).Seconds())
}
