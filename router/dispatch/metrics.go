package dispatch

import (
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/internal/wire"
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
	m := &metrics{
		assigned: f.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_dispatch_assigned_total", Help: "Jobs assigned to a worker, by placement and the rule that chose it.",
		}, []string{"place", "why"}),
		wait: f.NewHistogramVec(histogram.Wait("baton_dispatch_wait_seconds", "Admission of a request to the decision about its place."), []string{"class"}),
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
	for _, reason := range []string{abandoned, frontendGone, string(wire.DeadlineOver), string(wire.TooLate)} {
		m.dropped.WithLabelValues(reason)
	}
	return m
}

// Why jobs are dropped, beside the reasons of wire.Refusal.
const (
	abandoned    = "abandoned"     // by the frontend that queued them
	frontendGone = "frontend_gone" // with it
)

// figures are those of metrics that each job of a lane changes: looking one up costs more than changing it. They need
// the lane's lock.
type figures struct {
	from   *metrics
	counts map[decision]prometheus.Counter
	waits  map[wire.Class]prometheus.Observer
}

type decision struct {
	place wire.Place
	why   string
}

func newFigures(from *metrics) figures {
	return figures{from: from, counts: map[decision]prometheus.Counter{}, waits: map[wire.Class]prometheus.Observer{}}
}

func (f *figures) assigned(place wire.Place, why string) prometheus.Counter {
	key := decision{place, why}
	if f.counts[key] == nil {
		f.counts[key] = f.from.assigned.WithLabelValues(string(place), why)
	}
	return f.counts[key]
}

func (f *figures) waited(class wire.Class) prometheus.Observer {
	if f.waits[class] == nil {
		f.waits[class] = f.from.wait.WithLabelValues(class.String())
	}
	return f.waits[class]
}
