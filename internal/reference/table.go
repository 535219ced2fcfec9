package reference

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/report"
)

// Table writes the outcomes side by side, with what was published below each row.
func Table(w io.Writer, outcomes []Outcome, slo bench.SLO) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "deployment\ttotal s\t× first\tTTFT mean s\tTTFT p99 s\tTPOT mean ms\tTPOT p99 ms\tITL p99 ms\t")
	if slo.Set() {
		fmt.Fprint(tab, "good %\t")
	}
	fmt.Fprintln(tab, "failed\twall s\t")
	var first time.Duration
	for i := range outcomes {
		o := &outcomes[i]
		s := o.Summarize(slo)
		if first == 0 {
			first = s.Duration
		}
		row(tab, o.Name, &s, first, slo)
		fmt.Fprintf(tab, "%d\t%.1f\t\n", s.Failed, o.Took.Seconds())
		for j := range s.Streams {
			row(tab, "· "+s.Streams[j].Name, &s.Streams[j], first, slo)
			fmt.Fprintf(tab, "%d\t\t\n", s.Streams[j].Failed)
		}
		if p := o.Published; p != (Published{}) {
			fmt.Fprintf(tab, "· published\t%.0f\t\t%.0f\t\t\t%d\t\t", p.Total.Seconds(), p.MeanTTFT.Seconds(), p.P99TPOT.Milliseconds())
			if slo.Set() {
				fmt.Fprint(tab, "\t")
			}
			fmt.Fprintln(tab, "\t\t")
		}
	}
	return tab.Flush()
}

func row(tab io.Writer, name string, s *bench.Summary, first time.Duration, slo bench.SLO) {
	p99 := func(d bench.Dist) float64 {
		v, _ := d.At(99) // asked for in Summarize
		return v
	}
	fmt.Fprintf(tab, "%s\t%.1f\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t", name, s.Duration.Seconds(), s.Duration.Seconds()/first.Seconds(),
		s.TTFT.Mean/1000, p99(s.TTFT)/1000, s.TPOT.Mean, p99(s.TPOT), p99(s.ITL))
	if slo.Set() {
		fmt.Fprintf(tab, "%.1f\t", 100*float64(s.Good)/float64(max(1, s.Completed+s.Failed)))
	}
}

// HTML writes the outcomes as one page.
func HTML(w io.Writer, p *Preset, outcomes []Outcome) error {
	named := make([]report.Named, len(outcomes))
	for i := range outcomes {
		named[i] = report.Named{Name: outcomes[i].Name, Result: outcomes[i].Result, Note: outcomes[i].About}
	}
	return report.HTML(w, "baton: "+p.About, named, p.SLO)
}
