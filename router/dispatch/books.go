package dispatch

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/router/schedule"
)

// books exports the law's books of each model when they are asked for. A worker that is gone is in
// none, so there are as many series as there are workers.
type books func() map[string]*schedule.Snapshot

// gauge is one figure of a worker's books.
type gauge struct {
	desc  *prometheus.Desc
	value func(*schedule.WorkerBooks) float64
}

func workerGauge(name, help string, value func(*schedule.WorkerBooks) float64) gauge {
	return gauge{prometheus.NewDesc(name, help, []string{"model", "worker"}, nil), value}
}

var (
	waiting = prometheus.NewDesc(
		"baton_dispatch_waiting", "Jobs at the head of the queue that were looked at and could not be placed, by what they wait for; 0 in all but one frontend.",
		[]string{"model", "reason"}, nil,
	)
	workerGauges = []gauge{
		workerGauge("baton_dispatch_worker_prompts", "Prompts that a worker has and that have no first token.", func(w *schedule.WorkerBooks) float64 { return float64(w.Prompts) }),
		workerGauge("baton_dispatch_worker_prompt_tokens", "Tokens of such prompts that it has to compute.", func(w *schedule.WorkerBooks) float64 { return float64(w.PromptTokens) }),
		workerGauge("baton_dispatch_worker_decoding", "Answers that a worker produces.", func(w *schedule.WorkerBooks) float64 { return float64(w.Decoding) }),
		workerGauge("baton_dispatch_worker_reserved", "Answers that a decode worker has room reserved for.", func(w *schedule.WorkerBooks) float64 { return float64(w.Reserved) }),
		workerGauge("baton_dispatch_worker_handles", "KV caches that wait at a worker for their readers.", func(w *schedule.WorkerBooks) float64 { return float64(w.Handles) }),
		workerGauge("baton_dispatch_worker_kv_tokens", "Tokens of a worker's KV cache that are committed.", func(w *schedule.WorkerBooks) float64 { return float64(w.KV) }),
		workerGauge("baton_dispatch_worker_kv_capacity_tokens", "Tokens that a worker's KV cache holds.", func(w *schedule.WorkerBooks) float64 { return float64(w.Capacity) }),
		workerGauge("baton_dispatch_worker_inter_token_seconds", "Time between tokens of one answer, as the worker said last; 0: none of late.", func(w *schedule.WorkerBooks) float64 { return w.ITL.Seconds() }),
		workerGauge("baton_dispatch_worker_held", "1 while a worker gets no long prompt because its answers are slower than promised.", func(w *schedule.WorkerBooks) float64 {
			if w.Held {
				return 1
			}
			return 0
		}),
	}
)

// Describe implements prometheus.Collector.
func (b books) Describe(out chan<- *prometheus.Desc) {
	out <- waiting
	for _, g := range workerGauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (b books) Collect(out chan<- prometheus.Metric) {
	for model, s := range b() {
		for reason, n := range s.Waiting {
			out <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(n), model, reason)
		}
		for i := range s.Workers {
			for _, g := range workerGauges {
				out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&s.Workers[i]), model, s.Workers[i].ID)
			}
		}
	}
}
