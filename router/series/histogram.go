package series

import (
	"math"
	"time"
)

const (
	// bins times growth cover a millisecond to an hour; a percentile is wrong by half of growth at most.
	bins   = 112
	growth = 1.15
	least  = time.Millisecond
)

// histogram counts durations in bins that grow.
type histogram [bins]uint32

// add counts a duration; 0 is none.
func (h *histogram) add(d time.Duration) {
	if d <= 0 {
		return
	}
	at := 0
	if d > least {
		at = int(math.Log(float64(d)/float64(least)) / math.Log(growth))
	}
	h[min(at, bins-1)]++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other {
		h[i] += n
	}
}

// quantile is in seconds; false if nothing was counted.
func (h *histogram) quantile(q float64) (float64, bool) {
	var total uint32
	for _, n := range h {
		total += n
	}
	if total == 0 {
		return 0, false
	}
	left := q * float64(total)
	for i, n := range h {
		if left -= float64(n); left <= 0 && n > 0 {
			return least.Seconds() * math.Pow(growth, float64(i)+0.5), true // the middle of the bin
		}
	}
	return least.Seconds() * math.Pow(growth, bins), true
}
