package schedule_test

import (
	"math"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// burst is the reference load: n prompts at once.
func burst(n int) (rs []*request) {
	for range n {
		rs = append(rs, &request{prompt: 8192, out: 200, class: wire.Standard})
	}
	return rs
}

// chats come at random (Poisson) for so long.
func chats(seed int64, perSecond float64, lasts time.Duration) (rs []*request) {
	r := rand.New(rand.NewSource(seed))
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() / perSecond * float64(time.Second))
		if at >= lasts {
			return rs
		}
		rs = append(rs, &request{arrival: at, prompt: 50 + r.Intn(200), out: 100 + r.Intn(100), class: wire.Interactive})
	}
}

// bursty are n prompts whose gaps have a coefficient of variation of 2 (gamma distributed).
func bursty(seed int64, n int, perSecond float64) (rs []*request) {
	const shape = 0.25 // 1/cv²
	r := rand.New(rand.NewSource(seed))
	at := 0.0
	for range n {
		at += gamma(r, shape) / shape / perSecond
		rs = append(rs, &request{arrival: time.Duration(at * float64(time.Second)), prompt: 8192, out: 200, class: wire.Standard})
	}
	return rs
}

// gamma draws from the gamma distribution of scale 1 (Marsaglia and Tsang 2000).
func gamma(r *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(r, shape+1) * math.Pow(r.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	for {
		x := r.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// documents are n prompts at once about some documents of 6k tokens, in random order.
func documents(seed int64, n, documents int) []*request {
	r := rand.New(rand.NewSource(seed))
	rs := burst(n)
	for _, q := range rs {
		q.doc, q.docLen = r.Intn(documents), 6144
	}
	return rs
}

const (
	tp4   = "llama-70b-h100-tp4"
	small = "llama-8b-h100-tp1"
)

var (
	asPrefill = flags{batch: 4096, seqs: 1024}
	asDecode  = flags{batch: 1024, threshold: 896, seqs: 1024}
	asBoth    = flags{batch: 1280, seqs: 1024}
)

// split is a deployment of prefill and decode workers on the same kind of GPUs.
func split(profile string, prefill, decode int, d flags) []box {
	return append(slices.Repeat([]box{{wire.RolePrefill, profile, asPrefill}}, prefill), slices.Repeat([]box{{wire.RoleDecode, profile, d}}, decode)...)
}

// both are workers that do whole requests.
func both(profile string, n int, f flags) []box {
	return slices.Repeat([]box{{wire.RoleBoth, profile, f}}, n)
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

// outcome sums up what clients saw.
type outcome struct {
	total    time.Duration // to the last token
	meanTTFT time.Duration
	p99TTFT  time.Duration
	p99TPOT  time.Duration
	good     float64 // percent
}

func percentile(ds []time.Duration, p float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(p*float64(len(ds))))]
}

func sumUp(rs []*request) (o outcome) {
	var ttft, tpot []time.Duration
	var sum time.Duration
	good := 0
	for _, q := range rs {
		if q.dropped {
			continue
		}
		o.total = max(o.total, q.ended.Sub(epoch))
		sum += q.ttft()
		ttft, tpot = append(ttft, q.ttft()), append(tpot, q.tpot())
		if q.ttft() <= goodTTFT && q.tpot() <= goodTPOT {
			good++
		}
	}
	o.meanTTFT, o.p99TTFT, o.p99TPOT = sum/time.Duration(max(1, len(ttft))), percentile(ttft, .99), percentile(tpot, .99)
	o.good = 100 * float64(good) / float64(max(1, len(rs)))
	return o
}

// play has a deployment serve a load and logs what came of it.
func play(t testing.TB, name string, u setup, rs ...*request) outcome {
	t.Helper()
	s := newSite(t, u)
	o := sumUp(s.serve(rs))
	preempted := 0
	for _, w := range s.order {
		preempted += w.engine.preempted
	}
	t.Logf("%-34s T %6.1f s  TTFT mean %7.2f P99 %7.2f s  P99 TPOT %5.1f ms  good %4.1f %%  %v, %d preempted",
		name, o.total.Seconds(), o.meanTTFT.Seconds(), o.p99TTFT.Seconds(), float64(o.p99TPOT)/1e6, o.good, s.whys, preempted)
	return o
}

// of selects requests.
func of(rs []*request, class wire.Class) (out []*request) {
	for _, q := range rs {
		if q.class == class {
			out = append(out, q)
		}
	}
	return out
}
