package series_test

import (
	"math"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/series"
)

var start = time.Unix(1_000_000, 0)

func near(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > 0.08*want {
		t.Errorf("%s is %v, want about %v", what, got, want)
	}
}

func TestFiguresAreThoseOfTheirStep(t *testing.T) {
	s := series.New(series.Aim{TTFT: 3 * time.Second, TPOT: 50 * time.Millisecond})
	for i := range 100 {
		s.Pass(series.Arrived, wire.Standard, start)
		s.End(&series.Ended{
			Done: true, TTFT: time.Duration(i+1) * 100 * time.Millisecond, TPOT: 20 * time.Millisecond, PromptTokens: 10, CompletionTokens: 5,
		}, start)
	}
	s.End(&series.Ended{Failed: true}, start)
	s.End(&series.Ended{}, start)

	v := s.View(start.Add(series.Step))
	at := series.Points - 1
	if v.Arrived[at] != 50 || v.Done[at] != 50 || v.Good[at] != 15 || v.Failed[at] != 0.5 || v.PromptTokens[at] != 500 || v.CompletionTokens[at] != 250 {
		t.Errorf("the last step has %v arrived, %v done, %v good, %v failed, %v and %v tokens a second",
			v.Arrived[at], v.Done[at], v.Good[at], v.Failed[at], v.PromptTokens[at], v.CompletionTokens[at])
	}
	near(t, "median TTFT", v.TTFT50[at], 5)
	near(t, "p99 TTFT", v.TTFT99[at], 9.9)
	near(t, "p99 TPOT", v.TPOT99[at], 0.02)
	if v.TTFT50[at-1] != nil || v.Done[at-1] != 0 {
		t.Errorf("the step before has %v done and median %v, want nothing", v.Done[at-1], v.TTFT50[at-1])
	}
	if got := s.View(start).Done[at]; got != 0 {
		t.Errorf("a step that is not over shows %v done a second", got)
	}
	m := s.Summary(start)
	if m.Done != 100 || m.Failed != 1 || m.Cancelled != 1 || m.Good != 30 || m.CompletionTokens != 500 {
		t.Errorf("the last minute is %+v", m)
	}
}

func TestFiguresAreForgotten(t *testing.T) {
	s := series.New(series.Aim{})
	s.End(&series.Ended{Done: true, TTFT: time.Second}, start)
	if m := s.Summary(start.Add(2 * time.Minute)); m.Done != 0 || m.TTFT50 != nil {
		t.Errorf("two minutes later the last minute is %+v", m)
	}
	later := start.Add((series.Points + 1) * series.Step) // its place in memory is used again
	s.End(&series.Ended{Done: true, TTFT: time.Second}, later)
	sum := 0.0
	for _, n := range s.View(later.Add(series.Step)).Done {
		sum += n * series.Step.Seconds()
	}
	if sum != 1 {
		t.Errorf("%v requests are shown, want the last one", sum)
	}
}

func TestRatesAreByClassAndPlace(t *testing.T) {
	s := series.New(series.Aim{})
	for i := range 20 {
		s.Pass(series.PrefillIn, wire.Batch, start.Add(time.Duration(i)*time.Second/2))
	}
	s.Pass(series.DecodeOut, wire.Interactive, start)
	r := s.Rates(5, start.Add(10*time.Second))
	if got := r[series.PrefillIn][wire.Batch]; math.Abs(got-2) > 1e-9 {
		t.Errorf("%v batch requests come in a second, want 2", got)
	}
	if got := r[series.DecodeOut][wire.Interactive]; math.Abs(got-0.1) > 1e-9 {
		t.Errorf("%v interactive requests leave in a second, want 0.1", got)
	}
	if got := r[series.PrefillIn][wire.Standard]; got != 0 {
		t.Errorf("%v standard requests come in a second, want none", got)
	}
}

func TestVeryShortAndVeryLongTimesCount(t *testing.T) {
	s := series.New(series.Aim{})
	s.End(&series.Ended{Done: true, TTFT: time.Nanosecond}, start)
	if m := s.Summary(start); m.TTFT50 == nil || *m.TTFT50 > 0.002 {
		t.Errorf("a nanosecond is %v", m.TTFT50)
	}
	s = series.New(series.Aim{})
	s.End(&series.Ended{Done: true, TTFT: 100 * time.Hour}, start)
	if m := s.Summary(start); m.TTFT50 == nil || *m.TTFT50 < 3600 {
		t.Errorf("100 hours are %v", m.TTFT50)
	}
}
