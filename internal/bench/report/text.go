// Package report shows results of package bench: as text, while a run goes on and at its end, side
// by side, and as one HTML file.
package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/baton-llm/baton/internal/bench"
)

// Text writes the figures of a run.
func Text(w io.Writer, r *bench.Result, s *bench.Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %s\n\n", r.Model, r.Endpoint)
	tab := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "  Duration\t%.2f s%s\n", s.Duration.Seconds(), ended(r))
	writeTotals(tab, s)
	_ = tab.Flush() // a strings.Builder takes all
	b.WriteByte('\n')
	writeDists(&b, s)
	for i := range s.Streams {
		stream := &s.Streams[i]
		fmt.Fprintf(&b, "\n  Stream %s\n", streamName(stream))
		tab := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		writeTotals(tab, stream)
		_ = tab.Flush()
		writeDists(&b, stream)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func ended(r *bench.Result) string {
	switch {
	case r.Interrupted:
		return fmt.Sprintf(", interrupted; %d requests not sent", r.Unsent)
	case r.Unsent > 0:
		return fmt.Sprintf(", %d requests not sent since the time was over", r.Unsent)
	default:
		return ""
	}
}

func streamName(s *bench.Summary) string {
	if s.Class == "" || s.Class == s.Name {
		return s.Name
	}
	return s.Name + " (" + s.Class + ")"
}

func writeTotals(w io.Writer, s *bench.Summary) {
	fmt.Fprintf(w, "  Requests\t%d completed, %d failed%s\n", s.Completed, s.Failed, failures(s))
	fmt.Fprintf(w, "  Tokens\t%d in (%d cached), %d out%s\n", s.InputTokens, s.CachedTokens, s.OutputTokens, uncounted(s))
	fmt.Fprintf(w, "  Throughput\t%s req/s, %s tok/s out, %s tok/s in and out\n", number(s.Per(s.Completed)), number(s.Per(s.OutputTokens)), number(s.Per(s.InputTokens+s.OutputTokens)))
	fmt.Fprintf(w, "  Most at once\t%d requests; %s events with tokens in one second\n", s.MaxInFlight, number(s.MaxTokenEvents))
	if s.SLO.Set() {
		fmt.Fprintf(w, "  Goodput\t%s req/s, %.1f %% of all requests, with %s\n", number(s.Per(s.Good)), goodShare(s), sloText(s.SLO))
	}
}

// goodShare is the part of all requests, failed ones included, that kept the SLO, in percent.
func goodShare(s *bench.Summary) float64 {
	return 100 * float64(s.Good) / float64(max(1, s.Completed+s.Failed))
}

func failures(s *bench.Summary) string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(s.Failures)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", s.Failures[kind], kind))
	}
	if kinds == nil {
		return ""
	}
	return " (" + strings.Join(kinds, ", ") + ")"
}

func uncounted(s *bench.Summary) string {
	if s.Uncounted == 0 {
		return ""
	}
	return fmt.Sprintf("; the server gave no count for %d requests", s.Uncounted)
}

func sloText(s bench.SLO) string {
	var bounds []string
	for _, b := range []struct {
		name string
		time time.Duration
	}{{"TTFT", s.TTFT}, {"TPOT", s.TPOT}, {"E2EL", s.E2EL}} {
		if b.time > 0 {
			bounds = append(bounds, fmt.Sprintf("%s ≤ %s", b.name, b.time))
		}
	}
	return strings.Join(bounds, ", ")
}

// dist is a distribution with its name for people.
type dist struct {
	Name, Long string
	bench.Dist
}

func dists(s *bench.Summary) []dist {
	return []dist{
		{"TTFT", "Time to first token", s.TTFT},
		{"TPOT", "Time per output token", s.TPOT},
		{"ITL", "Inter-token latency", s.ITL},
		{"E2EL", "End-to-end latency", s.E2EL},
	}
}

func writeDists(w io.Writer, s *bench.Summary) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "  ms\tmean\tstd\tmin\t")
	for _, p := range s.TTFT.Percentiles {
		fmt.Fprintf(tab, "p%s\t", plain(p.P))
	}
	fmt.Fprint(tab, "max\t\n")
	for _, d := range dists(s) {
		fmt.Fprintf(tab, "  %s\t%s\t%s\t%s\t", d.Name, number(d.Mean), number(d.Std), number(d.Min))
		for _, p := range d.Percentiles {
			fmt.Fprintf(tab, "%s\t", number(p.Value))
		}
		fmt.Fprintf(tab, "%s\t\n", number(d.Max))
	}
	_ = tab.Flush() // its writer is in memory
}

// number has two decimals where they say something.
func number(x float64) string {
	switch {
	case x == math.Trunc(x), x >= 10_000 || x <= -10_000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 100 || x <= -100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
