package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"

	"github.com/baton-llm/baton/internal/bench"
)

// Named is a result in a report.
type Named struct {
	Name   string
	Result *bench.Result
	Note   string // a sentence on what was run, for people; may be empty
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// pageData is what the page shows.
type pageData struct {
	Title   string
	Results []pageResult
	Tiles   []tile // of a single result
	Totals  [][]string
	SLO     string
	Heads   []string // of the columns of Times
	Times   []timeGroup
	Streams []streamRow
	Sets    []chartSet
}

type pageResult struct {
	Name, Note, Class, Facts string
}

type tile struct{ Name, Value, Unit string }

type timeGroup struct {
	Name, Long string
	Rows       [][]string // the result's name, then the columns
}

type streamRow struct{ Cells []string }

type chartSet struct {
	Title, Grid string // Grid: the class of the layout
	Charts      []chart
}

// HTML writes one page that needs nothing else: no script, no font, no network.
func HTML(w io.Writer, title string, results []Named, slo bench.SLO) error {
	if len(results) == 0 {
		return errors.New("write a report: there are no results")
	}
	d := pageData{Title: title}
	if slo.Set() {
		d.SLO = sloText(slo)
	}
	summaries := make([]bench.Summary, len(results))
	for i, r := range results {
		summaries[i] = r.Result.Summary(slo)
		d.Results = append(d.Results, pageResult{Name: r.Name, Note: r.Note, Class: class(i), Facts: facts(r.Result)})
		d.Totals = append(d.Totals, totalsRow(r.Name, &summaries[i]))
		for k := range summaries[i].Streams {
			d.Streams = append(d.Streams, streamCells(r.Name, &summaries[i].Streams[k]))
		}
	}
	d.Heads, d.Times = times(results, summaries)
	if len(results) == 1 {
		d.Tiles = tiles(&summaries[0])
	} else {
		d.Sets = append(d.Sets, chartSet{"Side by side", "three", barCharts(results, summaries)},
			chartSet{"Trade-off", "one", []chart{pareto(results, summaries)}})
	}
	d.Sets = append(d.Sets, chartSet{"Distributions", "four", cdfs(results)}, chartSet{"Timeline", "three", timelines(results)})
	if err := page.Execute(w, d); err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	return nil
}

func facts(r *bench.Result) string {
	out := []string{r.Model, string(r.Endpoint)}
	if !r.Began.IsZero() {
		out = append(out, r.Began.Format("2006-01-02 15:04:05"))
	}
	if r.MaxConcurrency > 0 {
		out = append(out, fmt.Sprintf("at most %d in flight", r.MaxConcurrency))
	}
	if r.Interrupted {
		out = append(out, "interrupted")
	}
	return strings.Join(out, " · ")
}

func tiles(s *bench.Summary) []tile {
	tpot, _ := s.TPOT.At(99)
	out := []tile{
		{"Total time", number(s.Duration.Seconds()), "s"},
		{"Requests", strconv.Itoa(s.Completed), fmt.Sprintf("of %d", s.Completed+s.Failed)},
		{"Output", number(s.Per(s.OutputTokens)), "tok/s"},
		{"Mean TTFT", number(s.TTFT.Mean), "ms"},
		{"P99 TPOT", number(tpot), "ms"},
	}
	if s.SLO.Set() {
		out = append(out, tile{"Within the SLO", number(goodShare(s)), "%"})
	}
	return out
}

// totalsRow is the cells of a result under the heads in the page.
func totalsRow(name string, s *bench.Summary) []string {
	good := "–"
	if s.SLO.Set() {
		good = fmt.Sprintf("%s (%.1f %%)", number(s.Per(s.Good)), goodShare(s))
	}
	return []string{
		name, number(s.Duration.Seconds()), strconv.Itoa(s.Completed), strconv.Itoa(s.Failed) + failures(s), number(s.Per(s.Completed)), good,
		number(s.Per(s.OutputTokens)), number(s.Per(s.InputTokens + s.OutputTokens)), strconv.Itoa(s.MaxInFlight),
	}
}

func streamCells(result string, s *bench.Summary) streamRow {
	p99 := func(d bench.Dist) string { v, _ := d.At(99); return number(v) }
	good := "–"
	if s.SLO.Set() {
		good = fmt.Sprintf("%.1f", goodShare(s))
	}
	return streamRow{[]string{
		result, streamName(s), strconv.Itoa(s.Completed), strconv.Itoa(s.Failed), number(s.TTFT.Mean), p99(s.TTFT), number(s.TPOT.Mean), p99(s.TPOT),
		p99(s.E2EL), good,
	}}
}

// times are the tables of the distributions: a group for each time, a row for each result.
func times(results []Named, summaries []bench.Summary) (heads []string, groups []timeGroup) {
	heads = []string{"mean", "std", "min"}
	for _, p := range summaries[0].TTFT.Percentiles {
		heads = append(heads, "p"+plain(p.P))
	}
	heads = append(heads, "max")
	for k, d := range dists(&bench.Summary{}) {
		g := timeGroup{Name: d.Name, Long: d.Long}
		for i := range results {
			d := dists(&summaries[i])[k]
			row := []string{results[i].Name, number(d.Mean), number(d.Std), number(d.Min)}
			for _, p := range d.Percentiles {
				row = append(row, number(p.Value))
			}
			g.Rows = append(g.Rows, append(row, number(d.Max)))
		}
		groups = append(groups, g)
	}
	return heads, groups
}
