package series

import "time"

// View is the figures of a span of time, one element a step, oldest first. A pointer that is nil: no
// request ended in that step.
type View struct {
	End              time.Time // of the last step
	Arrived          []float64 // requests admitted in a second
	Done             []float64 // requests answered in a second
	Good             []float64 // of them, those that kept the aim
	Failed           []float64 // in a second; those that were cancelled do not count
	PromptTokens     []float64 // in a second, of requests that ended
	CompletionTokens []float64 // likewise
	TTFT50, TTFT99   []*float64
	TPOT50, TPOT99   []*float64
}

// Summary is what the last minute was like, the present step included.
type Summary struct {
	Seconds                        float64
	Done, Failed, Cancelled, Good  int
	PromptTokens, CompletionTokens uint64
	TTFT50, TTFT99, TPOT50, TPOT99 *float64
}

// View returns the last Points steps. The present one is not over and left out.
func (s *Series) View(now time.Time) *View {
	floats := func() []float64 { return make([]float64, Points) }
	times := func() []*float64 { return make([]*float64, Points) }
	v := &View{
		End: time.Unix(0, number(now)*int64(Step)), Arrived: floats(), Done: floats(), Good: floats(), Failed: floats(),
		PromptTokens: floats(), CompletionTokens: floats(), TTFT50: times(), TTFT99: times(), TPOT50: times(), TPOT99: times(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(Points, number(now), func(at int, c *counts) {
		const per = 1 / (float64(Step) / float64(time.Second))
		var arrived uint32
		for _, n := range c.flow[Arrived] {
			arrived += n
		}
		v.Arrived[at], v.Done[at], v.Good[at], v.Failed[at] = float64(arrived)*per, float64(c.done)*per, float64(c.good)*per, float64(c.failed)*per
		v.PromptTokens[at], v.CompletionTokens[at] = float64(c.promptTokens)*per, float64(c.completionTokens)*per
		v.TTFT50[at], v.TTFT99[at] = quantiles(&c.ttft)
		v.TPOT50[at], v.TPOT99[at] = quantiles(&c.tpot)
	})
	return v
}

// Summary sums the last minute up.
func (s *Series) Summary(now time.Time) Summary {
	const steps = int(time.Minute / Step)
	var out Summary
	var ttft, tpot histogram
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(steps, number(now)+1, func(_ int, c *counts) {
		out.Done += int(c.done)
		out.Failed += int(c.failed)
		out.Cancelled += int(c.cancelled)
		out.Good += int(c.good)
		out.PromptTokens += c.promptTokens
		out.CompletionTokens += c.completionTokens
		ttft.merge(&c.ttft)
		tpot.merge(&c.tpot)
	})
	out.TTFT50, out.TTFT99 = quantiles(&ttft)
	out.TPOT50, out.TPOT99 = quantiles(&tpot)
	return out
}

// quantiles is the median and the 99th percentile, nil where there is nothing.
func quantiles(h *histogram) (p50, p99 *float64) {
	if q, ok := h.quantile(0.5); ok {
		p50 = &q
	}
	if q, ok := h.quantile(0.99); ok {
		p99 = &q
	}
	return p50, p99
}
