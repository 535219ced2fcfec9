package fleet

import (
	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	workers *prometheus.GaugeVec
	bad     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) metrics {
	return metrics{
		workers: promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
			Name: "baton_fleet_workers", Help: "Live processes by role and state (ready, starting, leaving, held).",
		}, []string{"role", "state"}),
		bad: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: "baton_fleet_announcements_refused_total", Help: "Announcements that were unreadable, outdated, or from too many processes.",
		}),
	}
}

// State says in a word whether a process takes work.
func State(a *wire.Announcement) string {
	switch {
	case a.Held:
		return "held"
	case a.Leaving:
		return "leaving"
	case a.Ready:
		return "ready"
	}
	return "starting"
}
