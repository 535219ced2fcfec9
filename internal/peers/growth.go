package main

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// trait is one number of a size.
type trait struct {
	head   string
	of     func(g *growth) float64
	format string
}

var (
	ofRequest = trait{"ms of processor per request", func(g *growth) float64 { return g.perThousand() }, "%.2f"}
	ofToken   = trait{"µs of processor per token", func(g *growth) float64 { return g.perToken() }, "%.1f"}
	firstByte = trait{"TTFT p50, ms", func(g *growth) float64 { return ms(g.TTFT50) }, "%.1f"}
	perSecond = trait{"req/s", func(g *growth) float64 { return g.rate() }, "%.0f"}
	resting   = trait{"ms of processor in a second without requests", func(g *growth) float64 { return 1000 * g.Idle }, "%.0f"}
	mostMem   = trait{"memory, MiB", func(g *growth) float64 { return float64(g.peak()) / (1 << 20) }, "%.0f"}
	ofStream  = trait{"kB for a stream", func(g *growth) float64 { return float64(g.peak()-total(g.Base)) / 1000 / float64(g.Size) }, "%.1f"}
	reached   = trait{"tokens/s", func(g *growth) float64 { return float64(g.Tokens) / g.Wall.Seconds() }, "%.0f"}
	wanted    = trait{"asked of the engine", func(g *growth) float64 { return g.Asked }, "%.0f"}
	between   = trait{"between tokens p50, ms", func(g *growth) float64 { return ms(g.Gap50) }, "%.0f"}
	atOnce    = trait{"most under way", func(g *growth) float64 { return float64(g.AtOnce) }, "%.0f"}
	lost      = trait{"failed requests", func(g *growth) float64 { return float64(g.Failed) }, "%.0f"}
)

// kinds are the series as they are shown; the first trait of each is plotted.
var kinds = []struct {
	name, title, axis string
	traits            []trait
}{
	{"workers", "Workers, half of them prefill, in one process", "workers", []trait{ofRequest, firstByte, perSecond, resting, mostMem, lost}},
	{"models", "Models, two workers for each, in one process", "models", []trait{ofRequest, firstByte, perSecond, resting, mostMem, lost}},
	{"frontends", "Frontends, all parts in processes of their own", "frontends", []trait{ofRequest, firstByte, perSecond, resting, mostMem, lost}},
	{"streams", "Streams of a token every 50 ms, in one process", "streams", []trait{ofToken, mostMem, ofStream, atOnce, firstByte, reached, wanted, between, lost}},
}

// values are those of all rounds, the lowest first.
func (r *growthReport) values(series string, size int, t *trait) (values []float64) {
	for i := range r.Growth {
		if g := &r.Growth[i]; g.Series == series && g.Size == size {
			values = append(values, t.of(g))
		}
	}
	slices.Sort(values)
	return values
}

// sizes are those that were measured, the smallest first.
func (r *growthReport) sizes(series string) (sizes []int) {
	for i := range r.Growth {
		if g := &r.Growth[i]; g.Series == series {
			sizes = append(sizes, g.Size)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// markdown writes a table for each series: medians, and the range of the rounds.
func (r *growthReport) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s; at most %d descriptors in a process.\n", &r.conditions, r.Files)
	for _, k := range kinds {
		sizes := r.sizes(k.name)
		if len(sizes) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n**%s**\n\n| %s", k.title, k.axis)
		for _, t := range k.traits {
			fmt.Fprintf(w, " | %s", t.head)
		}
		fmt.Fprintf(w, " |\n|---%s|\n", strings.Repeat("|---", len(k.traits)))
		for _, n := range sizes {
			fmt.Fprintf(w, "| %d", n)
			for _, t := range k.traits {
				fmt.Fprintf(w, " | %s", spread(r.values(k.name, n, &t), t.format))
			}
			fmt.Fprintln(w, " |")
		}
	}
	var errs []string
	for i := range r.Growth {
		if g := &r.Growth[i]; g.Error != "" {
			errs = append(errs, fmt.Sprintf("The first request that failed with %s %d, round %d: %s", g.Series, g.Size, g.Round, g.Error))
		}
	}
	for _, a := range r.Absent {
		errs = append(errs, fmt.Sprintf("%s was left out: %s", a.Name, a.Why))
	}
	for _, e := range errs {
		fmt.Fprintf(w, "\n%s\n", e)
	}
}

const (
	panelWidth, panelHeight = 450, 260
	marginX, marginTop      = 60, 60 // of the axes in a panel
	axesWidth, axesHeight   = panelWidth - marginX - 50, panelHeight - marginTop - 50
)

// plot draws the first trait of each series over its size, two panels in a row.
func (r *growthReport) plot(w io.Writer) {
	var panels strings.Builder
	n := 0
	for _, k := range kinds {
		if sizes := r.sizes(k.name); len(sizes) > 0 {
			fmt.Fprintf(&panels, `<g transform="translate(%d %d)">`+"\n", n%2*panelWidth, n/2*panelHeight)
			fmt.Fprintf(&panels, `<text x="12" y="18" font-weight="bold">%s</text>`+"\n", html.EscapeString(k.title))
			fmt.Fprintf(&panels, `<text x="12" y="34">%s</text>`+"\n", html.EscapeString(k.traits[0].head))
			r.panel(&panels, k.name, sizes, &k.traits[0])
			fmt.Fprintln(&panels, "</g>")
			n++
		}
	}
	height := (n + 1) / 2 * panelHeight
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", 2*panelWidth, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n%s</svg>\n", 2*panelWidth, height, &panels)
}

// panel draws medians as a line and ranges as strokes across it. Sizes are on a logarithmic scale, costs on one from 0.
func (r *growthReport) panel(w io.Writer, series string, sizes []int, t *trait) {
	most := 0.0
	for _, n := range sizes {
		most = max(most, slices.Max(r.values(series, n, t)))
	}
	first, last := float64(sizes[0]), float64(sizes[len(sizes)-1])
	x := func(n int) float64 {
		return marginX + axesWidth*math.Log(float64(n)/first)/cmp.Or(math.Log(last/first), 1)
	}
	y := func(v float64) float64 { return marginTop + axesHeight*(1-v/cmp.Or(most, 1)) }
	fmt.Fprintf(w, `<path d="M%d %d V%.1f H%d" fill="none" stroke="#9aa3af"/>`+"\n", marginX-10, marginTop, y(0), marginX+axesWidth+10)
	fmt.Fprintf(w, `<text x="%d" y="%.1f" text-anchor="end">0</text>`+"\n", marginX-16, y(0)+4)
	line := make([]string, len(sizes))
	for i, n := range sizes {
		v := r.values(series, n, t)
		low, middle, high := v[0], v[len(v)/2], v[len(v)-1]
		line[i] = fmt.Sprintf("%.1f,%.1f", x(n), y(middle))
		fmt.Fprintf(w, `<line x1="%.1f" x2="%.1[1]f" y1="%.1f" y2="%.1f" stroke="#111"/>`+"\n", x(n), y(low), y(high))
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="3" fill="#2563eb"/>`+"\n", x(n), y(middle))
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="middle">`+t.format+"</text>\n", x(n), y(high)-6, middle)
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="middle">%d</text>`+"\n", x(n), y(0)+18, n)
	}
	fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="#2563eb" stroke-width="2"/>`+"\n", strings.Join(line, " "))
}
