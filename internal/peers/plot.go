package main

import (
	"fmt"
	"html"
	"io"
)

// plot draws the processor time of each router as bars: small requests as fast as it goes, and paced ones.
func (r *report) plot(w io.Writer) {
	panels := []column{
		{head: "processor seconds for 1000 requests of 64 tokens, 32 at once", cell: "c32", figure: thousand},
		{head: "the same, a token every 5 ms", cell: "paced5", figure: thousand},
		{head: "µs of processor per token, 2000 streams that step together", cell: "streams", figure: token},
	}
	const width, label, row, gap = 900, 290, 20, 44
	var routers []about
	for _, a := range r.Routers {
		if a.Name != direct {
			routers = append(routers, a)
		}
	}
	height := len(panels)*(gap+len(routers)*row) + 16
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	y := 0
	for _, p := range panels {
		y += gap
		fmt.Fprintf(w, `<text x="8" y="%d" font-weight="bold">%s</text>`+"\n", y-12, html.EscapeString(p.head))
		most := 0.0
		for _, a := range routers {
			if v := r.values(a.Name, &p); len(v) > 0 {
				most = max(most, v[len(v)-1])
			}
		}
		for _, a := range routers {
			if v := r.values(a.Name, &p); len(v) > 0 {
				r.bar(w, &a, v, label, y, (width-label-70)/most)
			}
			y += row
		}
	}
	fmt.Fprintln(w, "</svg>")
}

// bar is the median as a bar, and the range as a line across its end.
func (r *report) bar(w io.Writer, a *about, values []float64, x, y int, scale float64) {
	low, middle, high := values[0], values[len(values)/2], values[len(values)-1]
	fill := "#b8c0cc" // others
	switch {
	case len(a.Name) >= 5 && a.Name[:5] == "baton":
		fill = "#2563eb"
	case !a.Split:
		fill = "#e2e5ea" // one leg alone
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", x-8, y+13, html.EscapeString(a.title()))
	fmt.Fprintf(w, `<rect x="%d" y="%d" width="%.1f" height="15" fill="%s"/>`+"\n", x, y+1, middle*scale, fill)
	fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d" stroke="#111"/>`+"\n", float64(x)+low*scale, float64(x)+high*scale, y+8)
	fmt.Fprintf(w, `<text x="%.1f" y="%d">%.2f</text>`+"\n", float64(x)+high*scale+6, y+13, middle)
}
