package schedule_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/lawsim"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

var long = flag.Bool("long", false, "play the loads at full length and over more seeds")

const (
	fullBurst = 2000
	// tail is what the end of a shortened burst adds to its part of the full one's time: one answer.
	tail = 15 * time.Second
)

// some is the size of a burst, and scaled what a figure of the full one is for it.
func some() int {
	if *long {
		return fullBurst
	}
	return 500
}

func scaled(full time.Duration) time.Duration {
	if *long {
		return full
	}
	return full*time.Duration(some())/fullBurst + tail
}

func atMost[T int | float64 | time.Duration](t *testing.T, what string, got, most T) {
	t.Helper()
	if got > most {
		t.Errorf("%s is %v, want at most %v", what, got, most)
	}
}

func atLeast(t *testing.T, what string, got, least float64) {
	t.Helper()
	if got < least {
		t.Errorf("%s is %.1f, want at least %.1f", what, got, least)
	}
}

var node = split(tp4, 1, 1, asDecode)

// One prefill and one decode worker of four GPUs each, all prompts at once: elastic is as fast as two
// aggregated workers, with a better tail; a split leaves half of the decode worker idle.
func TestBurst(t *testing.T) {
	elastic := play(t, "elastic", site(law(schedule.Elastic), node, fast), burst(some())...)
	atMost(t, "elastic's time", elastic.Total, scaled(672*time.Second))
	atMost(t, "elastic's P99 TPOT", elastic.P99TPOT, 80*time.Millisecond)

	fixed := play(t, "split", site(law(schedule.Split), node, fast), burst(some())...)
	atMost(t, "split's time", fixed.Total, scaled(1160*time.Second))
	atMost(t, "split's P99 TPOT", fixed.P99TPOT, 30*time.Millisecond)

	whole := play(t, "aggregated", site(law(schedule.Aggregated), both(tp4, 2, asBoth), fast), burst(some())...)
	atMost(t, "aggregated's time", whole.Total, scaled(680*time.Second))
	atMost(t, "elastic's time", elastic.Total, whole.Total)
	atMost(t, "elastic's P99 TPOT", elastic.P99TPOT, whole.P99TPOT)
}

// Where KV caches move slowly, the prefill worker keeps what the link cannot take. It can then
// compute at most 1.46 prompts a second beside answers at 100 ms a token, against 1.75 without, so
// that the best any law could do is 5 % more time.
func TestSlowLink(t *testing.T) {
	quick := play(t, "elastic, 50 GB/s", site(law(schedule.Elastic), node, fast), burst(some())...)
	for _, gbps := range []float64{2.5, 1} {
		slow := play(t, fmt.Sprintf("elastic, %v GB/s", gbps), site(law(schedule.Elastic), node, gbps), burst(some())...)
		atMost(t, "the time over a slow link", slow.Total, quick.Total*109/100)
		atMost(t, "P99 TPOT over a slow link", slow.P99TPOT, 102*time.Millisecond)
	}
}

// People chat while a burst is worked off. Chats are computed in what lent prompts leave of an
// iteration, so they want a lower threshold for long prompts than the burst alone would.
func TestChatsBesideABurst(t *testing.T) {
	u := site(law(schedule.Elastic), split(tp4, 1, 1, flags(1024, 768)), fast)
	alone := play(t, "burst", u, burst(some())...)
	rs := append(burst(some()), chats(1, 5, alone.Total)...)
	play(t, "burst and chats", u, rs...)
	atMost(t, "P99 TTFT of chats", sumUp(of(rs, wire.Interactive)).P99TTFT, 600*time.Millisecond)
	atMost(t, "the burst's time", sumUp(of(rs, wire.Standard)).Total, alone.Total*108/100)
}

// With a strict promise the split pays: chunks small enough for it are inefficient, and the prefill
// worker need not make any.
func TestStrictPromise(t *testing.T) {
	promise := func(c *schedule.Config) { c.SLO.TPOT = 50 * time.Millisecond }
	elastic := play(t, "elastic, 50 ms", site(law(schedule.Elastic, promise), split(tp4, 1, 1, flags(640, 512)), fast), burst(some())...)
	whole := play(t, "aggregated, chunks of 545", site(law(schedule.Aggregated, promise), both(tp4, 2, flags(545, 0)), fast), burst(some())...)
	atMost(t, "elastic's P99 TPOT", elastic.P99TPOT, whole.P99TPOT+2*time.Millisecond)
	atMost(t, "elastic's time", elastic.Total, whole.Total*945/1000)
}

// Eight small engines in different parts. Their prompts take little more time than a hand-over, so
// what the split costs shows.
func TestManyWorkers(t *testing.T) {
	whole := play(t, "aggregated, 8", site(law(schedule.Aggregated), both(small, 8, asBoth), fast), burst(some())...)
	for prefill, most := range map[int]time.Duration{4: 107, 6: 109} {
		u := split(small, prefill, 8-prefill, asDecode)
		elastic := play(t, fmt.Sprintf("elastic, %d and %d", prefill, 8-prefill), site(law(schedule.Elastic), u, fast), burst(some())...)
		fixed := play(t, fmt.Sprintf("split, %d and %d", prefill, 8-prefill), site(law(schedule.Split), u, fast), burst(some())...)
		atMost(t, "elastic's time", elastic.Total, whole.Total*most/100)
		atMost(t, "elastic's time", elastic.Total, fixed.Total*95/100)
		atMost(t, "elastic's P99 TPOT", elastic.P99TPOT, 100*time.Millisecond)
	}
}

// Prompts that share documents go where those are cached, but never at the price of idle workers.
func TestSharedDocuments(t *testing.T) {
	for _, n := range []int{20, 100} {
		elastic := play(t, fmt.Sprintf("elastic, %d documents", n), site(law(schedule.Elastic), node, fast), documents(1, some(), n)...)
		whole := play(t, fmt.Sprintf("aggregated, %d documents", n), site(law(schedule.Aggregated), both(tp4, 2, asBoth), fast), documents(1, some(), n)...)
		blind := burst(some())
		for i, q := range documents(1, some(), n) { // the engines find them, the law does not know
			blind[i].Doc, blind[i].DocLen, blind[i].Unhashed = q.Doc, q.DocLen, true
		}
		without := play(t, fmt.Sprintf("elastic, %d unknown documents", n), site(law(schedule.Elastic), node, fast), blind...)
		atMost(t, "elastic's time", elastic.Total, whole.Total*105/100)
		atMost(t, "the time with affinity", elastic.Total, without.Total*105/100)
	}
}

// Prompts come in bursts at a part of the capacity. A good answer begins within two seconds and takes
// at most 100 ms a token; what cannot begin in time is refused.
func TestGoodput(t *testing.T) {
	const capacity = 3.03 // prompts per second, by the time of the full burst
	promise := func(c *schedule.Config) { c.SLO.TTFT, c.RejectLate = goodTTFT, true }
	deployments := []struct {
		name string
		lawsim.Deployment
	}{
		{"elastic", site(law(schedule.Elastic, promise), node, fast)},
		{"elastic, chunks as aggregated", site(law(schedule.Elastic, promise), split(tp4, 1, 1, flags(1280, 1216)), fast)},
		{"aggregated", site(law(schedule.Aggregated, promise), both(tp4, 2, asBoth), fast)},
		{"split", site(law(schedule.Split, promise), node, fast)},
	}
	seeds := 1
	if *long {
		seeds = 5
	}
	for _, load := range []struct{ part, least float64 }{{.6, 84}, {.8, 76}, {.95, 70}} {
		good := map[string]float64{}
		for _, d := range deployments {
			for seed := range seeds {
				o := play(t, fmt.Sprintf("%s, %v", d.name, load.part), d.Deployment, bursty(seed+1, some(), load.part*capacity)...)
				good[d.name] += o.Good / float64(seeds)
			}
		}
		t.Logf("good at %v: %v", load.part, good)
		if *long { // one seed says little
			atLeast(t, fmt.Sprintf("elastic's good part at %v", load.part), good["elastic"], load.least)
			atLeast(t, fmt.Sprintf("elastic's good part at %v", load.part), good["elastic, chunks as aggregated"], good["aggregated"]-2.5)
		}
		atLeast(t, "elastic's good part", good["elastic"], good["split"])
		atLeast(t, "elastic's good part", good["elastic"], good["aggregated"]-5)
	}
}
