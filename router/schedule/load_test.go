package schedule_test

import (
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/lawsim"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// burst is the reference load: n prompts at once.
func burst(n int) []*lawsim.Request { return lawsim.Burst(n, 8192, 200) }

// chats come at random (Poisson) for so long.
func chats(seed int64, perSecond float64, lasts time.Duration) (rs []*lawsim.Request) {
	r := rand.New(rand.NewSource(seed))
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() / perSecond * float64(time.Second))
		if at >= lasts {
			return rs
		}
		rs = append(rs, &lawsim.Request{Arrival: at, Prompt: 50 + r.Intn(200), Out: 100 + r.Intn(100), Class: wire.Interactive})
	}
}

// bursty are n prompts whose gaps have a coefficient of variation of 2.
func bursty(seed int, n int, perSecond float64) []*lawsim.Request {
	const shape = 0.25 // 1/cv²
	return lawsim.Arrivals(uint64(seed), n, perSecond, shape, 8192, 200)
}

// documents are n prompts at once about some documents of 6k tokens, in random order.
func documents(seed int64, n, documents int) []*lawsim.Request {
	r := rand.New(rand.NewSource(seed))
	rs := burst(n)
	for _, q := range rs {
		q.Doc, q.DocLen = r.Intn(documents), 6144
	}
	return rs
}

const (
	tp4   = "llama-70b-h100-tp4"
	small = "llama-8b-h100-tp1"
)

var (
	asPrefill = flags(4096, 0)
	asDecode  = flags(1024, 896)
	asBoth    = flags(1280, 0)
)

func flags(batch, longPrompt int) lawsim.Flags {
	return lawsim.Flags{Batch: batch, LongPrompt: longPrompt, Seqs: 1024}
}

// split is a deployment of prefill and decode workers on the same kind of GPUs.
func split(profile string, prefill, decode int, d lawsim.Flags) []lawsim.Worker {
	return append(slices.Repeat([]lawsim.Worker{{Role: wire.RolePrefill, Profile: profile, Flags: asPrefill}}, prefill), slices.Repeat([]lawsim.Worker{{Role: wire.RoleDecode, Profile: profile, Flags: d}}, decode)...)
}

// both are workers that do whole requests.
func both(profile string, n int, f lawsim.Flags) []lawsim.Worker {
	return slices.Repeat([]lawsim.Worker{{Role: wire.RoleBoth, Profile: profile, Flags: f}}, n)
}

func site(law schedule.Config, workers []lawsim.Worker, gbps float64) lawsim.Deployment {
	return lawsim.Deployment{Law: law, Workers: workers, GBps: gbps}
}

// law is a policy with what the tests change.
func law(m schedule.Mode, change ...func(*schedule.Config)) schedule.Config {
	c := schedule.DefaultConfig()
	c.Mode = m
	for _, f := range change {
		f(&c)
	}
	return c
}

const (
	fast  = 50 // GB/s
	worse = 2.5
)

// goodTTFT and goodTPOT are what a good answer keeps to.
const (
	goodTTFT = 2 * time.Second
	goodTPOT = 100 * time.Millisecond
)

func sumUp(rs []*lawsim.Request) lawsim.Summary {
	return lawsim.Sum(rs, lawsim.SLO{TTFT: goodTTFT, TPOT: goodTPOT})
}

// play has a deployment serve a load and logs what came of it.
func play(t testing.TB, name string, d lawsim.Deployment, rs ...*lawsim.Request) lawsim.Summary {
	t.Helper()
	stats, err := lawsim.Run(d, rs)
	if err != nil {
		t.Fatal(err)
	}
	o := sumUp(rs)
	t.Logf("%-34s T %6.1f s  TTFT mean %7.2f P99 %7.2f s  P99 TPOT %5.1f ms  good %4.1f %%  %v, %d preempted",
		name, o.Total.Seconds(), o.MeanTTFT.Seconds(), o.P99TTFT.Seconds(), float64(o.P99TPOT)/1e6, o.Good, stats.Whys, stats.Preempted)
	return o
}

// of selects requests.
func of(rs []*lawsim.Request, class wire.Class) (out []*lawsim.Request) {
	for _, q := range rs {
		if q.Class == class {
			out = append(out, q)
		}
	}
	return out
}
