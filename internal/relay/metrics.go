package relay

import (
	"errors"

	"github.com/baton-llm/baton/internal/histogram"
	"github.com/prometheus/client_golang/prometheus"
)

type senderMetrics struct {
	sent, resent prometheus.Counter
	perPublish   prometheus.Histogram
	cancelled    *prometheus.CounterVec
	lost         prometheus.Counter
}

func newSenderMetrics(reg prometheus.Registerer) senderMetrics {
	m := senderMetrics{
		sent:   counter(reg, "baton_frames_sent_total", "Frames that runs have sent, each counted once."),
		resent: counter(reg, "baton_frames_resent_total", "Frames sent again, because they were asked for or not acknowledged."),
		perPublish: shared(reg, prometheus.NewHistogram(histogram.Of(
			"baton_frames_per_publish", "Frames that one published batch carries.", prometheus.ExponentialBuckets(1, 2, 12),
		))),
		cancelled: shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_runs_cancelled_total", Help: "Runs that ended before a final frame, by who ended them.",
		}, []string{"by"})),
		lost: counter(reg, "baton_frame_batches_lost_total", "Batches of frames or controls of a worker that could not be published."),
	}
	for _, by := range []string{byFrontend, byFrontendGone} {
		m.cancelled.WithLabelValues(by)
	}
	return m
}

type receiverMetrics struct {
	received, duplicates, gaps, unknown, bad, lost prometheus.Counter
}

func newReceiverMetrics(reg prometheus.Registerer) receiverMetrics {
	return receiverMetrics{
		received:   counter(reg, "baton_frames_received_total", "Frames handed on in order."),
		duplicates: counter(reg, "baton_frames_duplicate_total", "Frames that had come before."),
		gaps:       counter(reg, "baton_frame_gaps_total", "Gaps in runs that were asked for again."),
		unknown:    counter(reg, "baton_frames_unknown_total", "Frames for streams that are not open."),
		bad:        counter(reg, "baton_frame_batches_bad_total", "Batches that could not be read to their end."),
		lost:       counter(reg, "baton_control_batches_lost_total", "Batches of controls that could not be published."),
	}
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	return shared(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

// shared registers c, or returns what an earlier Sender or Receiver of this process registered
// under the same name: `baton up` runs several in one process. It panics if the name is taken by
// another kind of metric, as promauto does.
func shared[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if err == nil {
		return c
	}
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if have, ok := taken.ExistingCollector.(C); ok {
			return have
		}
	}
	panic(err)
}
