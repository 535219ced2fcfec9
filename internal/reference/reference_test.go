package reference_test

import (
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/reference"
)

func TestMain(m *testing.M) {
	natsd.HoldClock()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// run runs the cases of a preset and prints the table.
func run(t *testing.T, preset string, requests int, names ...string) (map[string]bench.Summary, []reference.Outcome) {
	t.Helper()
	p, err := reference.PresetByName(preset)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []reference.Outcome
	figures := map[string]bench.Summary{}
	for _, c := range reference.Only(p.Cases(requests), names) {
		o := c.InBubble(t, io.Discard)
		if o.Result == nil {
			t.Fatalf("%s has no result", c.Name)
		}
		outcomes = append(outcomes, o)
		s := o.Summarize(p.SLO)
		if s.Failed > 0 || s.Completed == 0 {
			t.Errorf("%s: %d requests failed (%v), %d completed", c.Name, s.Failed, s.Failures, s.Completed)
		}
		figures[c.Name] = s
	}
	if err := reference.Table(t.Output(), outcomes, p.SLO); err != nil {
		t.Error(err)
	}
	return figures, outcomes
}

func atMost(t *testing.T, what string, got, most float64) {
	t.Helper()
	if got > most {
		t.Errorf("%s is %.1f, want at most %.1f", what, got, most)
	}
}

func p99(d bench.Dist) float64 {
	v, _ := d.At(99)
	return v
}

// The published benchmark through the whole of baton: the split's tail at the monolith's speed.
// Under the race detector it is a small part of the burst, where the ends weigh more.
func TestReferenceBurst(t *testing.T) {
	requests, slack := 2000, 1.0
	if raceDetector {
		requests, slack = 120, 1.15
	}
	got, _ := run(t, "burst", requests, "stock", "aggregated", "split", "elastic")
	stock, aggregated, split, elastic := got["stock"], got["aggregated"], got["split"], got["elastic"]
	part := float64(requests) / 2000
	atMost(t, "elastic's time", elastic.Duration.Seconds(), 0.85*slack*stock.Duration.Seconds())
	atMost(t, "elastic's time", elastic.Duration.Seconds(), 1.02*slack*aggregated.Duration.Seconds())
	atMost(t, "elastic's time", elastic.Duration.Seconds(), 700*part*slack)
	atMost(t, "elastic's mean TTFT", elastic.TTFT.Mean, 0.85*slack*stock.TTFT.Mean)
	atMost(t, "elastic's P99 TPOT", p99(elastic.TPOT), 85)
	atMost(t, "split's time", split.Duration.Seconds(), 1200*part*slack)
	atMost(t, "split's P99 TPOT", p99(split.TPOT), 30)
}

// A run in virtual time is the same every time.
func TestVirtualTimeRepeatsExactly(t *testing.T) {
	first, _ := run(t, "burst", 40, "elastic")
	second, _ := run(t, "burst", 40, "elastic")
	a, b := first["elastic"], second["elastic"]
	if d := (a.Duration - b.Duration).Abs(); d > 50*time.Millisecond {
		t.Errorf("two runs took %v and %v of virtual time", a.Duration, b.Duration)
	}
}
