package workload

import (
	"math"
	"math/rand/v2"
	"time"
)

// times are the n arrivals since the beginning. The pauses of a random process are scaled so that
// the last arrival is at n/rate exactly, as vLLM's benchmark does: then the seed changes the
// order of long and short pauses but not the load.
func (m *maker) times(n int) []time.Duration {
	out := make([]time.Duration, n)
	var pause func() float64
	switch m.arrival() {
	case Constant:
		pause = func() float64 { return 1 }
	case Poisson:
		pause = m.rng(arrivals, 0).ExpFloat64
	case Gamma:
		rng := m.rng(arrivals, 0)
		pause = func() float64 { return gamma(rng, m.Burstiness) }
	default:
		return out
	}
	at := make([]float64, n)
	sum := 0.0
	for i := range at {
		sum += pause()
		at[i] = sum
	}
	for i := range at {
		out[i] = time.Duration(math.Round(at[i] / sum * float64(n) / m.Rate * float64(time.Second)))
	}
	return out
}

// gamma draws from the gamma distribution with this shape and scale 1: Marsaglia and Tsang, "A
// simple method for generating gamma variables" (2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
