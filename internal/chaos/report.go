package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run has shown.
type Report struct {
	Scenario Scenario           `json:"scenario"`
	Seed     uint64             `json:"seed"`
	Took     time.Duration      `json:"took"`
	Dir      string             `json:"dir"` // of the logs
	Faults   map[Kind]*Injected `json:"faults"`
	Requests int                `json:"requests"`
	Whole    int                `json:"whole"`         // answered rightly to the end
	Left     int                `json:"left"`          // their clients left on purpose
	Refused  int                `json:"refused"`       // times a client was told to come again later
	CutShort int                `json:"cut_short"`     // streams cut after their first byte, unless Strict
	Silence  Quantiles          `json:"silence"`       // longest of each request in which its client heard nothing
	Calm     Quantiles          `json:"calm"`          // the same in the seconds before the kill of decode-kill
	Gap      Quantiles          `json:"gap"`           // and after it
	Ledger   Ledger             `json:"ledger"`        // of KV handles
	Held     Held               `json:"held"`          // at the end
	Settled  time.Duration      `json:"settled_after"` // from the last request's end until nothing was held

	WithFrontend int            `json:"with_frontend"` // ended because their own frontend was killed
	Failures     map[string]int `json:"failures"`      // all others, by kind
	Samples      []Failed       `json:"samples"`       // the first of them
	Broken       []string       `json:"broken"`        // what else broke the promise
}

// Injected is what one kind of fault did.
type Injected struct {
	Count int           `json:"count"`
	Back  time.Duration `json:"back"` // the longest from the fault until the part was up again
}

// Failed is one failed request.
type Failed struct {
	Request string        `json:"request"`
	Kind    string        `json:"kind"`
	Detail  string        `json:"detail"`
	At      time.Duration `json:"at"`
	After   time.Duration `json:"after"`
	During  []string      `json:"during"` // faults while it ran or shortly before
}

// Quantiles of durations.
type Quantiles struct {
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// String shows them to people.
func (q Quantiles) String() string {
	return fmt.Sprintf("%s at the median, %s at the 99th percentile, %s at the most", show(q.P50), show(q.P99), show(q.Max))
}

const maxSamples = 100

func (r *Report) note(f Failed) {
	if len(r.Samples) < maxSamples {
		r.Samples = append(r.Samples, f)
	}
}

func (i *Injected) add(f *injected) {
	i.Count++
	i.Back = max(i.Back, f.back.Sub(f.begun))
}

func quantiles(all []time.Duration) (q Quantiles) {
	if len(all) == 0 {
		return q
	}
	slices.Sort(all)
	at := func(p float64) time.Duration { return all[int(p*float64(len(all)-1))] }
	return Quantiles{P50: at(0.5), P99: at(0.99), Max: at(1)}
}

// Kept tells whether the promise was kept.
func (r *Report) Kept() bool { return len(r.Failures) == 0 && len(r.Broken) == 0 }

// Print shows the report to people.
func (r *Report) Print(out io.Writer) error {
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "FAULT\tCOUNT\tBACK WITHIN\n")
	total := 0
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		total += r.Faults[k].Count
		fmt.Fprintf(tab, "%s\t%d\t%s\n", k, r.Faults[k].Count, show(r.Faults[k].Back))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s, seed %d, %s, %d faults\n", r.Scenario, r.Seed, r.Took.Round(time.Second), total)
	fmt.Fprintf(out, "%d requests: %d whole and right, %d left by their clients, %d ended with a killed frontend, %d cut after the first byte; %d times told to come again\n",
		r.Requests, r.Whole, r.Left, r.WithFrontend, r.CutShort, r.Refused)
	if r.Scenario == DecodeKill {
		fmt.Fprintf(out, "longest silence of a stream before the kill: %s\n", r.Calm)
		fmt.Fprintf(out, "longest silence of a stream after the kill: %s\n", r.Gap)
	} else {
		fmt.Fprintf(out, "longest silence of a request: %s\n", r.Silence)
	}
	fmt.Fprintf(out, "KV handles: %d issued = %d consumed + %d released + %d expired; nothing held %s after the last request: %t\n",
		r.Ledger.Issued, r.Ledger.Consumed, r.Ledger.Released, r.Ledger.Expired, show(r.Settled), r.Held == Held{})
	for _, kind := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(out, "FAILED  %d: %s\n", r.Failures[kind], kind)
	}
	slices.SortStableFunc(r.Samples, func(a, b Failed) int { return cmp.Compare(a.Kind, b.Kind) })
	for _, f := range r.Samples {
		fmt.Fprintf(out, "        %s at %s after %s: %s: %s [%s]\n", f.Request, show(f.At), show(f.After), f.Kind, f.Detail, some(f.During))
	}
	for _, b := range r.Broken {
		fmt.Fprintf(out, "BROKEN  %s\n", b)
	}
	verdict := "the promise was kept"
	if !r.Kept() {
		verdict = "the promise was BROKEN; logs are in " + r.Dir
	}
	_, err := fmt.Fprintln(out, verdict)
	return err
}

// some names the last faults of many: they are most likely to have to do with the end.
func some(faults []string) string {
	const most = 8
	if earlier := len(faults) - most; earlier > 0 {
		faults = append([]string{fmt.Sprintf("%d more", earlier)}, faults[earlier:]...)
	}
	return strings.Join(faults, ", ")
}

func show(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
