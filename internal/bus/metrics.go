package bus

import (
	"context"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/histogram"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of the label queue.
const (
	prefillQueue = "prefill"
	decodeQueue  = "decode"
)

// metrics of one bus.
type metrics struct {
	published, delivered, redelivered, undecodable, exhausted *prometheus.CounterVec

	wait          *prometheus.HistogramVec
	connected     prometheus.Gauge
	reconnects    prometheus.Counter
	slowConsumers prometheus.Counter
	skew          prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) *prometheus.CounterVec {
		c := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"queue"})
		for _, queue := range []string{prefillQueue, decodeQueue} {
			c.WithLabelValues(queue)
		}
		return c
	}
	return &metrics{
		published:     counter("baton_queue_published_total", "Jobs stored by this process, duplicates not counted."),
		delivered:     counter("baton_queue_delivered_total", "Jobs delivered to this process."),
		redelivered:   counter("baton_queue_redelivered_total", "Deliveries that were not a job's first."),
		undecodable:   counter("baton_queue_undecodable_total", "Messages dropped because they are no job."),
		exhausted:     counter("baton_queue_exhausted_total", "Jobs dropped after max_deliver deliveries."),
		wait:          f.NewHistogramVec(histogram.Wait("baton_queue_wait_seconds", "Publish to first delivery of a job."), []string{"queue"}),
		connected:     f.NewGauge(prometheus.GaugeOpts{Name: "baton_bus_connected", Help: "1 while this process has a connection to NATS."}),
		reconnects:    f.NewCounter(prometheus.CounterOpts{Name: "baton_bus_reconnects_total", Help: "Connections to NATS made again."}),
		slowConsumers: f.NewCounter(prometheus.CounterOpts{Name: "baton_bus_slow_consumers_total", Help: "Times a subscription began to lose messages."}),
		skew:          f.NewGauge(prometheus.GaugeOpts{Name: "baton_bus_clock_skew_seconds", Help: "How far the NATS server's clock is ahead of this process's; jobs are corrected for it."}),
	}
}

// queueMetrics are those of one queue.
type queueMetrics struct {
	published, delivered, redelivered, undecodable, exhausted prometheus.Counter

	wait prometheus.Observer
}

func (m *metrics) of(queue string) queueMetrics {
	return queueMetrics{
		published: m.published.WithLabelValues(queue), delivered: m.delivered.WithLabelValues(queue), redelivered: m.redelivered.WithLabelValues(queue),
		undecodable: m.undecodable.WithLabelValues(queue), exhausted: m.exhausted.WithLabelValues(queue), wait: m.wait.WithLabelValues(queue),
	}
}

const (
	depthFresh   = time.Second // a scrape within this time of another asks nothing
	depthTimeout = time.Second
)

// depthCollector asks the server for a queue's depth when it is scraped.
type depthCollector struct {
	stats func(context.Context) (Depth, error)

	messages, bytes, oldest *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	last  Depth
	err   error
}

func newDepthCollector(queue string, stats func(context.Context) (Depth, error)) *depthCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, nil, prometheus.Labels{"queue": queue})
	}
	return &depthCollector{
		stats:    stats,
		messages: desc("baton_queue_messages", "Jobs in the queue, delivered and unfinished ones included."),
		bytes:    desc("baton_queue_bytes", "Bytes in the queue."),
		oldest:   desc("baton_queue_oldest_age_seconds", "Age of the queue's oldest job."),
	}
}

// Describe implements prometheus.Collector.
func (c *depthCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.messages
	ch <- c.bytes
	ch <- c.oldest
}

// Collect implements prometheus.Collector. Without an answer the series are absent, not wrong.
func (c *depthCollector) Collect(ch chan<- prometheus.Metric) {
	d, err := c.depth()
	if err != nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.messages, prometheus.GaugeValue, float64(d.Messages))
	ch <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(d.Bytes))
	ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, d.Oldest.Seconds())
}

func (c *depthCollector) depth() (Depth, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.asked.IsZero() || now.Sub(c.asked) >= depthFresh {
		ctx, cancel := context.WithTimeout(context.Background(), depthTimeout)
		defer cancel()
		c.last, c.err = c.stats(ctx)
		c.asked = time.Now()
	}
	return c.last, c.err
}
