package report

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/baton-llm/baton/internal/bench"
)

// Column is one result of a comparison.
type Column struct {
	Name    string
	Figures bench.Figures
}

// totals are the figures that are no times, in the order of the table.
var totals = []string{
	"duration", "completed", "failed", "total_input_tokens", "total_output_tokens", "request_throughput", "request_goodput",
	"output_throughput", "total_token_throughput",
}

var percentileName = regexp.MustCompile(`^p([\d.]+)_(ttft|tpot|itl|e2el)_ms$`)

// Compare writes the figures side by side, and their ratios to the first column. A dash stands for
// a figure that a result does not have.
func Compare(w io.Writer, columns []Column) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := rows(columns)
	longest := 0
	for _, name := range names {
		longest = max(longest, len(name))
	}
	fmt.Fprint(tab, "\t")
	for i, c := range columns {
		fmt.Fprintf(tab, "%s\t", c.Name)
		if i > 0 {
			fmt.Fprint(tab, "ratio\t")
		}
	}
	fmt.Fprintln(tab)
	for _, name := range names {
		fmt.Fprintf(tab, "%-*s\t", longest, name)
		base, known := columns[0].Figures[name]
		for i, c := range columns {
			x, ok := c.Figures[name]
			cell := "-"
			if ok {
				cell = number(x)
			}
			fmt.Fprintf(tab, "%s\t", cell)
			if i == 0 {
				continue
			}
			cell = "-"
			if ok && known && base != 0 {
				cell = "×" + strconv.FormatFloat(x/base, 'f', 3, 64)
			}
			fmt.Fprintf(tab, "%s\t", cell)
		}
		fmt.Fprintln(tab)
	}
	return tab.Flush()
}

// rows are the names of the figures that any of the results has.
func rows(columns []Column) []string {
	has := map[string]bool{}
	percentiles := map[float64]bool{}
	for _, c := range columns {
		for name := range c.Figures {
			has[name] = true
			if m := percentileName.FindStringSubmatch(name); m != nil {
				if p, err := strconv.ParseFloat(m[1], 64); err == nil {
					percentiles[p] = true
				}
			}
		}
	}
	names := slices.Clone(totals)
	for _, d := range dists(&bench.Summary{}) {
		suffix := "_" + strings.ToLower(d.Name) + "_ms"
		names = append(names, "mean"+suffix, "median"+suffix, "std"+suffix)
		for _, p := range slices.Sorted(maps.Keys(percentiles)) {
			names = append(names, "p"+plain(p)+suffix)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return !has[name] })
}
