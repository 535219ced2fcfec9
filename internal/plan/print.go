package plan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// Print writes the table of the options, the choice, and the settings to use.
func (a *Advice) Print(w io.Writer) error {
	if err := a.table(w); err != nil {
		return err
	}
	o := &a.Options[a.Best]
	fmt.Fprintf(w, "\nrecommended: %s\n", o.Name())
	if !a.Kept {
		fmt.Fprintf(w, "warning: none of this keeps %v per token for 99 in 100 requests; the choice comes closest\n", a.Question.SLOTPOT)
	}
	a.settings(w, o)
	return nil
}

func (a *Advice) table(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	rate, goal := a.Question.Rate > 0, a.Question.slo()
	if rate {
		fmt.Fprint(tab, "deployment\tgood %\tsustainable req/s\t")
	} else {
		fmt.Fprint(tab, "deployment\ttotal s\treq/s\t")
	}
	fmt.Fprint(tab, "TTFT mean s\tTTFT p99 s\tTPOT p99 ms\tbatches\t")
	if !rate && goal.TTFT > 0 {
		fmt.Fprint(tab, "good %\t")
	}
	fmt.Fprintln(tab)
	for i := range a.Options {
		o := &a.Options[i]
		if rate {
			fmt.Fprintf(tab, "%s\t%.1f\t%.2f\t", o.Name(), o.Good, o.Sustainable)
		} else {
			fmt.Fprintf(tab, "%s\t%.1f\t%.2f\t", o.Name(), o.Total.Seconds(), float64(a.Question.Burst)/o.Total.Seconds())
		}
		fmt.Fprintf(tab, "%.2f\t%.2f\t%.1f\t%s\t", o.MeanTTFT.Seconds(), o.P99TTFT.Seconds(), float64(o.P99TPOT)/float64(time.Millisecond), o.batches())
		if !rate && goal.TTFT > 0 {
			fmt.Fprintf(tab, "%.1f\t", o.Good)
		}
		fmt.Fprintln(tab)
	}
	return tab.Flush()
}

func (o *Option) batches() string {
	var all []string
	for _, e := range o.engines() {
		all = append(all, fmt.Sprint(o.Flags[e.role].Batch))
	}
	return strings.Join(all, "+")
}

func (a *Advice) settings(w io.Writer, o *Option) {
	fmt.Fprint(w, "\nvLLM engines:\n")
	for _, e := range o.engines() {
		f := o.Flags[e.role]
		fmt.Fprintf(w, "  %d × %-7s --max-num-batched-tokens %d --max-num-seqs %d", e.n, e.role, f.Batch, f.Seqs)
		if f.LongPrompt > 0 {
			fmt.Fprintf(w, " --long-prefill-token-threshold %d", f.LongPrompt)
		}
		fmt.Fprintf(w, "  (%s)\n", e.role.KVRole())
	}
	fmt.Fprint(w, "\nbaton:\n")
	for _, line := range o.lines(&a.Question) {
		fmt.Fprintf(w, "  --%s\n", line)
	}
	fmt.Fprint(w, "\nto try it with simulated engines, add to baton up:\n")
	for _, line := range o.simulated(&a.Question) {
		fmt.Fprintf(w, "  --%s\n", line)
	}
}

// lines are the settings of frontends and workers, as flags.
func (o *Option) lines(q *Question) []string {
	law := o.law(q.slo())
	out := []string{
		fmt.Sprintf("schedule.mode=%s", law.Mode), fmt.Sprintf("schedule.prefill_window=%d", law.PrefillWindow),
		fmt.Sprintf("schedule.slo.tpot=%v", law.SLO.TPOT),
	}
	if law.SLO.TTFT > 0 {
		out = append(out, fmt.Sprintf("schedule.slo.ttft=%v", law.SLO.TTFT))
	}
	if law.Mode == schedule.Split {
		out = append(out, fmt.Sprintf("schedule.short_prompt=%d", law.ShortPrompt))
	}
	return append(out, fmt.Sprintf("decode.slots=%d", seqs))
}

// simulated are the settings that baton up takes beside those.
func (o *Option) simulated(q *Question) []string {
	out := []string{
		"sim.profile=" + q.Profile, fmt.Sprintf("sim.transfer_gbps=%v", q.TransferGBps), fmt.Sprintf("sim.max_seqs=%d", seqs),
		fmt.Sprintf("up.prefill=%d", o.Prefill), fmt.Sprintf("up.decode=%d", o.Decode), fmt.Sprintf("up.both=%d", o.Both),
	}
	if o.Both > 0 {
		return append(out, fmt.Sprintf("sim.max_batch_tokens=%d", o.Flags[wire.RoleBoth].Batch))
	}
	decode := o.Flags[wire.RoleDecode]
	return append(out, fmt.Sprintf("up.prefill_batch=%d", o.Flags[wire.RolePrefill].Batch),
		fmt.Sprintf("up.decode_batch=%d", decode.Batch), fmt.Sprintf("up.decode_chunk=%d", decode.LongPrompt))
}
