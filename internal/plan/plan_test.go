package plan_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/plan"
)

// ask is the reference load on two engines of four GPUs each, with some changes.
func ask(t *testing.T, change func(*plan.Question)) *plan.Advice {
	t.Helper()
	q := plan.Question{
		Profile: "llama-70b-h100-tp4", Engines: 2, InputLen: 8192, OutputLen: 200, Burstiness: 1, SLOTPOT: 100 * time.Millisecond, TransferGBps: 50,
	}
	change(&q)
	a, err := plan.Make(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := a.Print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	return a
}

func named(t *testing.T, a *plan.Advice, name string) *plan.Option {
	t.Helper()
	for i := range a.Options {
		if a.Options[i].Name() == name {
			return &a.Options[i]
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// Known rows of the reference burst: what takes how long, and that elastic is as fast as the engines that do
// all, with a better tail.
func TestReferenceBurst(t *testing.T) {
	a := ask(t, func(q *plan.Question) { q.Burst = 2000 })
	for name, want := range map[string]float64{"elastic 1+1": 660, "aggregated 2": 664, "split 1+1": 1149} { // seconds
		if got := named(t, a, name).Total.Seconds(); math.Abs(got-want) > 0.03*want {
			t.Errorf("%s takes %.0f s, want %.0f within 3 %%", name, got, want)
		}
	}
	if best := a.Options[a.Best].Name(); best != "elastic 1+1" || !a.Kept {
		t.Errorf("the best is %s, kept %v", best, a.Kept)
	}
}

// The stricter the promise, the more it pays to have an engine that makes no small chunks.
func TestStrictPromises(t *testing.T) {
	lead := 0.0
	for _, tpot := range []time.Duration{50 * time.Millisecond, 30 * time.Millisecond} {
		a := ask(t, func(q *plan.Question) { q.Burst, q.SLOTPOT = 300, tpot })
		elastic, whole := named(t, a, "elastic 1+1"), named(t, a, "aggregated 2")
		if best := a.Options[a.Best].Name(); best != "elastic 1+1" || !a.Kept {
			t.Errorf("at %v the best is %s, kept %v", tpot, best, a.Kept)
		}
		if now := whole.Total.Seconds() / elastic.Total.Seconds(); now <= max(lead, 1) {
			t.Errorf("at %v elastic leads by a factor of %.2f, before by %.2f", tpot, now, lead)
		} else {
			lead = now
		}
	}
	a := ask(t, func(q *plan.Question) { q.Burst, q.SLOTPOT = 50, 5*time.Millisecond })
	if a.Kept {
		t.Error("no engine gives a token every 5 ms")
	}
	if best := &a.Options[a.Best]; best.P99TPOT > named(t, a, "split 1+1").P99TPOT {
		t.Errorf("what comes closest is said to be %s", best.Name())
	}
}

// A link that cannot carry the KV caches rules the split out.
func TestSlowLink(t *testing.T) {
	a := ask(t, func(q *plan.Question) { q.Burst, q.TransferGBps = 300, 1 })
	if split := named(t, a, "split 1+1"); split.Total < 700*time.Second || a.Options[a.Best].Mode == split.Mode {
		t.Errorf("split takes %v, and %s is best", split.Total, a.Options[a.Best].Name())
	}
}

// Bursty arrivals of long prompts: engines that do all have the most good answers, elastic follows closely, a
// split is far off. What is said to be sustainable is.
func TestRate(t *testing.T) {
	bursty := func(rate float64) func(*plan.Question) {
		return func(q *plan.Question) { q.Rate, q.Burstiness = rate, 0.25 }
	}
	a := ask(t, bursty(2.4))
	elastic, whole, split := named(t, a, "elastic 1+1"), named(t, a, "aggregated 2"), named(t, a, "split 1+1")
	if a.Options[a.Best].Mode == split.Mode || whole.Good < elastic.Good-1 || elastic.Good < whole.Good-6 || split.Good > elastic.Good-20 {
		t.Errorf("good answers: elastic %.0f, aggregated %.0f, split %.0f, best %s", elastic.Good, whole.Good, split.Good, a.Options[a.Best].Name())
	}
	if whole.Sustainable <= 0 {
		t.Fatalf("aggregated sustains %v requests a second", whole.Sustainable)
	}
	if again := named(t, ask(t, bursty(whole.Sustainable)), "aggregated 2"); again.Good < 88 {
		t.Errorf("at the sustainable %.2f requests a second %.0f %% are good", whole.Sustainable, again.Good)
	}
}

func TestManyEnginesAndOne(t *testing.T) {
	a := ask(t, func(q *plan.Question) { q.Profile, q.Engines, q.Burst = "llama-8b-h100-tp1", 8, 150 })
	if n := len(a.Options); n != 15 { // aggregated, and elastic and split for seven divisions
		t.Errorf("there are %d options", n)
	}
	if fixed, elastic := named(t, a, "split 6+2"), named(t, a, "elastic 6+2"); elastic.Total > fixed.Total {
		t.Errorf("6 and 2 take %v elastic and %v split", elastic.Total, fixed.Total)
	}
	if a := ask(t, func(q *plan.Question) { q.Engines, q.Burst = 1, 50 }); a.Options[a.Best].Name() != "aggregated 1" {
		t.Errorf("one engine is used as %s", a.Options[a.Best].Name())
	}
}

func TestQuestionsWithoutAnAnswer(t *testing.T) {
	good := plan.Question{Profile: "fast", Engines: 2, InputLen: 100, OutputLen: 10, Burst: 10, Burstiness: 1, SLOTPOT: time.Second, TransferGBps: 1}
	for want, change := range map[string]func(*plan.Question){
		"--burst or --rate": func(q *plan.Question) { q.Rate = 1 },
		"--rate +Inf":       func(q *plan.Question) { q.Burst, q.Rate = 0, math.Inf(1) },
		"no profile":        func(q *plan.Question) { q.Profile = "none" },
		"--engines":         func(q *plan.Question) { q.Engines = 0 },
		"at most 32":        func(q *plan.Question) { q.Engines = 33 },
		"--input-len":       func(q *plan.Question) { q.InputLen = 0 },
		"--output-len":      func(q *plan.Question) { q.OutputLen = 1 },
		"--burstiness":      func(q *plan.Question) { q.Burstiness = math.NaN() },
		"--slo-tpot":        func(q *plan.Question) { q.SLOTPOT = 0 },
		"KV cache":          func(q *plan.Question) { q.InputLen = 1 << 24 },
	} {
		q := good
		change(&q)
		if _, err := plan.Make(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Make = %v, want an error with %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plan.Make(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("Make = %v after an interrupt", err)
	}
}
