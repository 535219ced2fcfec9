package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/bench"
)

// chart is a drawing with its caption.
type chart struct {
	Title, Note string
	SVG         template.HTML
}

const (
	colours    = 6   // classes c0 to c5 of the page
	curvePoint = 150 // points of a distribution's line
)

func class(i int) string { return fmt.Sprintf("c%d", i%colours) }

// samples are the times of a result in ms, sorted.
func samples(r *bench.Result) map[string][]float64 {
	out := map[string][]float64{}
	add := func(name string, times ...time.Duration) { out[name] = append(out[name], bench.Milliseconds(times)...) }
	for i := range r.Records {
		rec := &r.Records[i]
		if rec.Err != nil {
			continue
		}
		add("TTFT", rec.TTFT)
		add("ITL", rec.ITL...)
		add("E2EL", rec.Latency)
		if t, ok := rec.TPOT(); ok {
			add("TPOT", t)
		}
	}
	for _, s := range out {
		slices.Sort(s)
	}
	return out
}

// cdfs draws, for each time, what share of the samples is at most how long.
func cdfs(results []Named) []chart {
	all := make([]map[string][]float64, len(results))
	for i, r := range results {
		all[i] = samples(r.Result)
	}
	var out []chart
	for _, d := range dists(&bench.Summary{}) {
		p := plot{title: d.Long, xUnit: "ms", yUnit: "% of samples", width: 300, y: axis{high: 100, ticks: []float64{0, 25, 50, 75, 100}}}
		if d.Name == "TTFT" || d.Name == "E2EL" {
			p.xUnit = "s"
		}
		low, high := 0.0, 0.0
		for i := range results {
			var line []point
			sorted := all[i][d.Name]
			if len(sorted) == 0 {
				continue
			}
			for k := range curvePoint + 1 {
				share := 100 * float64(k) / curvePoint
				x := bench.Quantile(sorted, share)
				if p.xUnit == "s" {
					x /= 1000
				}
				line = append(line, point{x, share})
			}
			if first := line[curvePoint/100+1].x; low == 0 || first < low {
				low = first
			}
			high = max(high, line[curvePoint].x)
			p.series = append(p.series, series{points: line, class: "line " + class(i)})
		}
		p.x = linear(high)
		if low > 0 && high/low > 50 {
			p.x = logarithmic(low, high)
		}
		out = append(out, chart{Title: d.Long, SVG: p.draw()})
	}
	return out
}

// pareto draws total time against P99 TPOT, and the line of the results that none beats in both.
func pareto(results []Named, summaries []bench.Summary) chart {
	p := plot{title: "Total time against P99 time per output token", xUnit: "s total time", yUnit: "ms P99 TPOT", width: 420}
	var points []point
	for i := range results {
		tpot, _ := summaries[i].TPOT.At(99)
		at := point{summaries[i].Duration.Seconds(), tpot}
		points = append(points, at)
		p.x.high, p.y.high = max(p.x.high, at.x), max(p.y.high, at.y)
		p.series = append(p.series, series{points: []point{at}, class: class(i) + " bar", name: results[i].Name})
	}
	p.x, p.y = linear(p.x.high*1.05), linear(p.y.high*1.1)
	p.series = append([]series{{points: front(points), class: "line front"}}, p.series...)
	return chart{Title: "Total time against tail latency", Note: "Lower left is better. No result beats one on the dotted line in both.", SVG: p.draw()}
}

// front are the points that no other one beats in both values, from left to right.
func front(points []point) []point {
	sorted := slices.Clone(points)
	slices.SortFunc(sorted, func(a, b point) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	var out []point
	for _, p := range sorted {
		if len(out) == 0 || p.y < out[len(out)-1].y {
			out = append(out, p)
		}
	}
	return out
}

// barCharts compare the figures that matter most.
func barCharts(results []Named, summaries []bench.Summary) []chart {
	figures := []struct {
		title, unit string
		of          func(*bench.Summary) float64
	}{
		{"Total time", "s", func(s *bench.Summary) float64 { return s.Duration.Seconds() }},
		{"Mean time to first token", "s", func(s *bench.Summary) float64 { return s.TTFT.Mean / 1000 }},
		{"P99 time per output token", "ms", func(s *bench.Summary) float64 { v, _ := s.TPOT.At(99); return v }},
		{"P99 inter-token latency", "ms", func(s *bench.Summary) float64 { v, _ := s.ITL.At(99); return v }},
		{"Output throughput", "tok/s", func(s *bench.Summary) float64 { return s.Per(s.OutputTokens) }},
		{"Requests within the SLO", "%", goodShare},
	}
	if !summaries[0].SLO.Set() {
		figures = figures[:len(figures)-1]
	}
	var out []chart
	for _, f := range figures {
		b := bars{title: f.title, unit: f.unit}
		for i := range results {
			b.names = append(b.names, results[i].Name)
			b.data = append(b.data, f.of(&summaries[i]))
			b.class = append(b.class, class(i))
		}
		out = append(out, chart{Title: strings.TrimSpace(f.title), SVG: b.draw()})
	}
	return out
}
