package report

import (
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/bench"
)

// spans is the number of parts of a timeline.
const spans = 120

// timeline is what happened in each span of a run.
type timeline struct {
	width    time.Duration // of a span
	used     int           // spans to the end of the run
	inFlight []float64     // requests between start and end, on average
	waiting  []float64     // of them before the first token
	tokens   []float64     // per second
	p50, p99 []point       // of the gaps that ended in a span, by seconds; spans without gaps are left out
}

func newTimeline(r *bench.Result, length time.Duration) *timeline {
	t := &timeline{
		width: max(1, length/spans), inFlight: make([]float64, spans), waiting: make([]float64, spans), tokens: make([]float64, spans),
	}
	t.used = t.span(r.Duration) + 1
	gaps := make([][]float64, spans)
	for i := range r.Records {
		rec := &r.Records[i]
		first := rec.End // of a request without tokens: it waited to its end
		if rec.Latency > 0 {
			first = rec.Start + rec.TTFT
		}
		t.fill(t.inFlight, rec.Start, rec.End)
		t.fill(t.waiting, rec.Start, first)
		if rec.Latency == 0 {
			continue
		}
		// An event may hold several tokens: each stands for its part of them.
		each := float64(rec.OutputTokens) / float64(1+len(rec.ITL)) / t.width.Seconds()
		at := first
		t.tokens[t.span(at)] += each
		for _, gap := range rec.ITL {
			at += gap
			t.tokens[t.span(at)] += each
			gaps[t.span(at)] = append(gaps[t.span(at)], float64(gap)/float64(time.Millisecond))
		}
	}
	for i, g := range gaps {
		if len(g) == 0 {
			continue
		}
		slices.Sort(g)
		at := (float64(i) + 0.5) * t.width.Seconds()
		t.p50, t.p99 = append(t.p50, point{at, bench.Quantile(g, 50)}), append(t.p99, point{at, bench.Quantile(g, 99)})
	}
	return t
}

func (t *timeline) span(at time.Duration) int { return min(max(0, int(at/t.width)), spans-1) }

// fill adds the time from one moment to another to the spans, as a part of each span's time.
func (t *timeline) fill(into []float64, from, to time.Duration) {
	for i := t.span(from); i <= t.span(to); i++ {
		begin := time.Duration(i) * t.width
		if part := min(to, begin+t.width) - max(from, begin); part > 0 {
			into[i] += float64(part) / float64(t.width)
		}
	}
}

func (t *timeline) line(values []float64) []point {
	out := make([]point, t.used)
	for i, v := range values[:t.used] {
		out[i] = point{(float64(i) + 0.5) * t.width.Seconds(), v}
	}
	return out
}

// timelines draws the results over one time axis.
func timelines(results []Named) []chart {
	length := time.Duration(0)
	for _, r := range results {
		length = max(length, r.Result.Duration)
	}
	panels := []chart{
		{Title: "Requests in flight", Note: "Dashed: waiting for their first token."},
		{Title: "Output tokens per second", Note: "At the arrival of the events that hold them."},
		{Title: "Inter-token latency over time", Note: "Solid: P99. Dashed: median."},
	}
	plots := make([]plot, len(panels))
	units := []string{"requests", "tok/s", "ms"}
	for k := range plots {
		plots[k] = plot{title: panels[k].Title, xUnit: "s", yUnit: units[k], width: 380, x: linear(length.Seconds())}
	}
	for i, r := range results {
		t := newTimeline(r.Result, length)
		solid, dashed := "line "+class(i), "line dashed "+class(i)
		plots[0].series = append(plots[0].series, series{points: t.line(t.inFlight), class: solid}, series{points: t.line(t.waiting), class: dashed})
		plots[1].series = append(plots[1].series, series{points: t.line(t.tokens), class: solid})
		plots[2].series = append(plots[2].series, series{points: t.p99, class: solid}, series{points: t.p50, class: dashed})
	}
	for k := range plots {
		plots[k].y = valueAxis(plots[k].series, units[k] == "ms")
		panels[k].SVG = plots[k].draw()
	}
	return panels
}

// valueAxis holds all values. Where it may be logarithmic, it is so if the largest value is far from
// the others; values far below are then drawn at its lower end.
func valueAxis(all []series, mayBeLog bool) axis {
	var values []float64
	for _, s := range all {
		for _, p := range s.points {
			values = append(values, p.y)
		}
	}
	if len(values) == 0 {
		return linear(0)
	}
	slices.Sort(values)
	typical, high := bench.Quantile(values, 50), values[len(values)-1]
	if mayBeLog && typical > 0 && high/typical > 50 {
		return logarithmic(typical/10, high)
	}
	return linear(high)
}
