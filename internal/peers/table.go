package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// figure is one number of a router under one load, over all rounds.
type figure struct {
	of     func(s, direct *sample) float64
	format string
}

// In every round the way without a router is the base of what a router adds.
var (
	rate     = figure{func(s, _ *sample) float64 { return s.rate() }, "%.0f"}
	tokens   = figure{func(s, _ *sample) float64 { return float64(s.Tokens) / s.Wall.Seconds() }, "%.0f"}
	added50  = figure{func(s, d *sample) float64 { return ms(s.TTFT50 - d.TTFT50) }, "%.2f"}
	added99  = figure{func(s, d *sample) float64 { return ms(s.TTFT99 - d.TTFT99) }, "%.2f"}
	addedGap = figure{func(s, d *sample) float64 { return ms(s.Gap99 - d.Gap99) }, "%.1f"}
	thousand = figure{func(s, _ *sample) float64 { return s.perThousand() }, "%.2f"}
	token    = figure{func(s, _ *sample) float64 { return s.perToken() }, "%.1f"}
	front    = figure{func(s, _ *sample) float64 { return 1e6 * s.CPU[frontend].Seconds() / float64(max(1, s.Tokens)) }, "%.1f"}
	memory   = figure{func(s, _ *sample) float64 { return float64(s.peak()) / (1 << 20) }, "%.0f"}
	frontMem = figure{func(s, _ *sample) float64 { return float64(s.Peak[frontend]) / (1 << 20) }, "%.0f"}
	failed   = figure{func(s, _ *sample) float64 { return float64(s.Failed) }, "%.0f"}
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// column is one column of a table.
type column struct {
	head string
	cell string
	figure
	processes bool // says nothing of the way without a router
}

// tables are what the figures are shown as.
var tables = []struct {
	title   string
	columns []column
}{
	{"Small requests: 200 bytes in, 64 tokens out", []column{
		{"added TTFT p50, c=1, ms", "c1", added50, true},
		{"p99", "c1", added99, true},
		{"req/s, c=1", "c1", rate, false},
		{"c=32", "c32", rate, false},
		{"c=256", "c256", rate, false},
		{"tokens/s, c=256", "c256", tokens, false},
	}},
	{"Processor seconds for 1000 requests, all of a router's processes", []column{
		{"c=1", "c1", thousand, true},
		{"c=32", "c32", thousand, true},
		{"c=256", "c256", thousand, true},
		{"c=32, a token every 5 ms", "paced5", thousand, true},
	}},
	{"2000 streams that step together every 50 ms, and 5000 requests at once", []column{
		{"µs of processor per token", "streams", token, true},
		{frontHead, "streams", front, true},
		{"added time between tokens p99, ms", "streams", addedGap, true},
		{"memory, MiB", "streams", memory, true},
		{frontMemHead, "streams", frontMem, true},
		{"failed of 2000", "streams", failed, false},
		{"failed of 5000", "burst", failed, false},
	}},
	{"Long prompts, c=1", []column{
		{"added TTFT p50 at 50 kB, ms", "prompt50k", added50, true},
		{"at 500 kB", "prompt500k", added50, true},
		{"processor seconds per 1000 at 50 kB", "prompt50k", thousand, true},
		{"at 500 kB", "prompt500k", thousand, true},
	}},
}

// markdown writes the tables: medians, and the range of the rounds.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s.\n", &r.conditions)
	for _, t := range tables {
		columns := slices.DeleteFunc(slices.Clone(t.columns), func(c column) bool {
			return !slices.ContainsFunc(r.Cells, func(l cell) bool { return l.Name == c.cell })
		})
		if len(columns) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n**%s**\n\n|", t.title)
		for _, c := range columns {
			fmt.Fprintf(w, " | %s", c.head)
		}
		fmt.Fprintf(w, " |\n|---%s|\n", strings.Repeat("|---", len(columns)))
		for _, router := range r.Routers {
			fmt.Fprintf(w, "| %s", router.title())
			for _, c := range columns {
				fmt.Fprintf(w, " | %s", r.text(router.Name, &c))
			}
			fmt.Fprintln(w, " |")
		}
	}
	for _, a := range r.Absent {
		fmt.Fprintf(w, "\n%s was left out: %s\n", a.Name, a.Why)
	}
}

func (a *about) title() string {
	if a.Version == "" {
		return a.Name
	}
	return a.Name + " " + a.Version
}

// text is the content of one field.
func (r *report) text(router string, c *column) string {
	values := r.values(router, c)
	if len(values) == 0 || c.processes && router == direct || (c.head == frontHead || c.head == frontMemHead) && !r.apart(router) {
		return ""
	}
	return spread(values, c.format)
}

// spread is the median of sorted values and, unless they look alike, their range.
func spread(values []float64, format string) string {
	low, middle, high := values[0], values[len(values)/2], values[len(values)-1]
	one := func(v float64) string { return fmt.Sprintf(format, v) }
	if one(low) == one(high) {
		return one(middle)
	}
	return one(middle) + " (" + one(low) + "–" + one(high) + ")"
}

// values are those of all rounds, the lowest first.
func (r *report) values(router string, c *column) (values []float64) {
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Router != router || s.Cell != c.cell {
			continue
		}
		for k := range r.Samples {
			if d := &r.Samples[k]; d.Router == direct && d.Cell == s.Cell && d.Round == s.Round {
				values = append(values, c.of(s, d))
			}
		}
	}
	slices.Sort(values)
	return values
}

const (
	frontend     = "frontend" // the name of that process
	frontHead    = "in the frontend alone"
	frontMemHead = "of the frontend alone"
)

// apart tells whether the router has a frontend of its own.
func (r *report) apart(router string) bool {
	return slices.ContainsFunc(r.Samples, func(s sample) bool {
		_, ok := s.CPU[frontend]
		return s.Router == router && ok
	})
}
