package lawsim

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Request is one client's: what it asks for and, after Run, what it saw.
type Request struct {
	Arrival     time.Duration // since the start
	Prompt, Out int           // tokens
	Class       wire.Class
	Tenant      string
	Doc, DocLen int  // prompts of one Doc share their first DocLen tokens
	Unhashed    bool // the router does not know of the document

	Began, Ended time.Time // first token, last token
	Why          string    // the rule by which it was placed
	Dropped      bool      // refused, as it could not be in time
}

func (r *Request) at() time.Time { return epoch.Add(r.Arrival) }

// TTFT is the time to the first token.
func (r *Request) TTFT() time.Duration { return r.Began.Sub(r.at()) }

// TPOT is the time per token after the first.
func (r *Request) TPOT() time.Duration { return r.Ended.Sub(r.Began) / time.Duration(max(1, r.Out-1)) }

// Burst is n requests at once.
func Burst(n, prompt, out int) []*Request {
	rs := make([]*Request, n)
	for i := range rs {
		rs[i] = &Request{Prompt: prompt, Out: out, Class: wire.Standard}
	}
	return rs
}

// Arrivals is n requests that come at random: the pauses are gamma distributed with this shape, which is 1 for
// a Poisson process and less for bursts (the coefficient of variation is 1/sqrt(shape)). They are scaled so
// that the last request comes at n/perSecond: the seed changes their order but not the load.
func Arrivals(seed uint64, n int, perSecond, shape float64, prompt, out int) []*Request {
	rng := rand.New(rand.NewPCG(seed, 0))
	rs := Burst(n, prompt, out)
	at, sum := make([]float64, n), 0.0
	for i := range at {
		sum += gamma(rng, shape)
		at[i] = sum
	}
	for i, r := range rs {
		r.Arrival = time.Duration(at[i] / sum * float64(n) / perSecond * float64(time.Second))
	}
	return rs
}

// gamma draws from the gamma distribution of scale 1 (Marsaglia and Tsang 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	for {
		x := rng.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// SLO is what an answer must keep to be good; 0: no such bound.
type SLO struct{ TTFT, TPOT time.Duration }

// Summary is what the clients of a load saw.
type Summary struct {
	Total             time.Duration // to the last token
	MeanTTFT, P99TTFT time.Duration
	P99TPOT           time.Duration
	Good              float64 // percent of all requests
}

// Sum sums up requests that Run has served.
func Sum(rs []*Request, slo SLO) (s Summary) {
	var ttft, tpot []time.Duration
	var sum time.Duration
	good := 0
	for _, r := range rs {
		if r.Dropped {
			continue
		}
		s.Total = max(s.Total, r.Ended.Sub(epoch))
		sum += r.TTFT()
		ttft, tpot = append(ttft, r.TTFT()), append(tpot, r.TPOT())
		if (slo.TTFT == 0 || r.TTFT() <= slo.TTFT) && (slo.TPOT == 0 || r.TPOT() <= slo.TPOT) {
			good++
		}
	}
	s.MeanTTFT, s.P99TTFT, s.P99TPOT = sum/time.Duration(max(1, len(ttft))), percentile(ttft, .99), percentile(tpot, .99)
	s.Good = 100 * float64(good) / float64(max(1, len(rs)))
	return s
}

func percentile(ds []time.Duration, p float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(p*float64(len(ds))))]
}
