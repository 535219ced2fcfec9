package bench_test

import (
	"math"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The wanted values are what numpy 2.4.6 gives for these samples: percentile, mean, std, median.
func TestFiguresAreNumpys(t *testing.T) {
	samples := []float64{0.31, 0.12, 5.5, 2.25, 0.9, 1.1, 7.0, 3.3, 0.05, 4.75, 2.0}
	got := bench.Describe(samples, []float64{0, 1, 10, 25, 50, 90, 95, 99, 99.9, 100})
	want := bench.Dist{
		N: 11, Mean: 2.48, Std: 2.2612064358334347, Median: 2, Min: 0.05, Max: 7,
		Percentiles: []bench.Percentile{
			{0, 0.05},
			{1, 0.057},
			{10, 0.12},
			{25, 0.605},
			{50, 2},
			{90, 5.5},
			{95, 6.25},
			{99, 6.8500000000000005},
			{99.9, 6.985000000000003},
			{100, 7},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-14, 0)); diff != "" {
		t.Errorf("Describe (-want +got):\n%s", diff)
	}
}

func TestNoSamplesGiveZeros(t *testing.T) {
	got := bench.Describe(nil, []float64{99})
	if got.N != 0 || got.Mean != 0 || math.IsNaN(got.Std) || got.Percentiles[0].Value != 0 {
		t.Errorf("Describe of nothing = %+v", got)
	}
}

func TestSummaryCountsWhatIsGoodAndWhatIsNot(t *testing.T) {
	ms := time.Millisecond
	ok := func(ttft, latency time.Duration, tokens int) bench.Record {
		return bench.Record{InputLen: 10, OutputTokens: tokens, Counted: bench.ByUsage, TTFT: ttft, Latency: latency}
	}
	r := bench.Result{Duration: 2 * time.Second, Streams: []bench.Stream{{Name: "all"}}, Records: []bench.Record{
		ok(100*ms, 1100*ms, 11),                         // 100 ms per token: just good
		ok(100*ms, 1101*ms, 11),                         // a little more: not good
		ok(201*ms, 300*ms, 11),                          // late first token
		ok(100*ms, 100*ms, 1),                           // one token has no TPOT and is good
		{InputLen: 10, TTFT: 50 * ms, Latency: 60 * ms}, // nobody counted it
		{InputLen: 10, Err: &bench.Failure{Kind: bench.KindOfStatus(429)}},     // failed
		{InputLen: 10, Err: &bench.Failure{Kind: bench.Broken}, TTFT: 10 * ms}, // failed after its first token
	}}
	s := r.Summary(bench.SLO{TTFT: 200 * ms, TPOT: 100 * ms})
	if s.Good != 2 || s.Completed != 5 || s.Failed != 2 || s.Uncounted != 1 || s.OutputTokens != 34 || s.InputTokens != 50 {
		t.Errorf("summary = %+v", s)
	}
	if diff := cmp.Diff(map[bench.Kind]int{"http_429": 1, "broken": 1}, s.Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if s.TPOT.N != 3 || s.TTFT.N != 5 || s.Per(s.Good) != 1 {
		t.Errorf("TPOT of %d, TTFT of %d requests, goodput %v/s, want 3, 5 and 1", s.TPOT.N, s.TTFT.N, s.Per(s.Good))
	}
}
