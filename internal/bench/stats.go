package bench

import (
	"math"
	"slices"
	"time"
)

// DefaultPercentiles are those that Summary gives where nobody asks for others.
var DefaultPercentiles = []float64{50, 90, 95, 99}

// Dist describes samples of one time, in milliseconds. All is zero where there are no samples.
type Dist struct {
	N                           int
	Mean, Median, Std, Min, Max float64
	Percentiles                 []Percentile // in the order that was asked for
}

// Percentile is the value that P percent of the samples do not exceed.
type Percentile struct{ P, Value float64 }

// At returns percentile p, if it was asked for.
func (d Dist) At(p float64) (float64, bool) {
	for _, q := range d.Percentiles {
		if q.P == p {
			return q.Value, true
		}
	}
	return 0, false
}

// Milliseconds converts times to the unit of Dist.
func Milliseconds(times []time.Duration) []float64 {
	out := make([]float64, len(times))
	for i, t := range times {
		out[i] = float64(t) / float64(time.Millisecond)
	}
	return out
}

// Describe sorts the samples and describes them exactly: every sample counts, nothing is put into
// buckets. Std is that of the population, as numpy's default is.
func Describe(samples []float64, percentiles []float64) Dist {
	d := Dist{N: len(samples)}
	for _, p := range percentiles {
		d.Percentiles = append(d.Percentiles, Percentile{P: p})
	}
	if len(samples) == 0 {
		return d
	}
	slices.Sort(samples)
	for _, x := range samples {
		d.Mean += x / float64(len(samples))
	}
	for _, x := range samples {
		d.Std += (x - d.Mean) * (x - d.Mean) / float64(len(samples))
	}
	d.Std = math.Sqrt(d.Std)
	d.Median, d.Min, d.Max = Quantile(samples, 50), samples[0], samples[len(samples)-1]
	for i := range d.Percentiles {
		d.Percentiles[i].Value = Quantile(samples, d.Percentiles[i].P)
	}
	return d
}

// Quantile is percentile p of sorted samples, of which there is at least one: the value at rank
// p/100*(n-1), linear between two samples, as numpy.percentile gives it.
func Quantile(sorted []float64, p float64) float64 {
	rank := min(max(p/100, 0), 1) * float64(len(sorted)-1)
	below := int(rank)
	above := min(below+1, len(sorted)-1)
	part, step := rank-float64(below), sorted[above]-sorted[below]
	if part >= 0.5 { // from above, so that part 1 gives the upper sample exactly
		return sorted[above] - step*(1-part)
	}
	return sorted[below] + step*part
}
