package plan

import (
	"fmt"

	"github.com/baton-llm/baton/internal/lawsim"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// Option is one way to use the engines, and what came of it.
type Option struct {
	Mode                  schedule.Mode
	Prefill, Decode, Both int // engines
	Window                int // schedule.prefill_window
	Flags                 map[wire.Role]lawsim.Flags

	lawsim.Summary
	Sustainable float64 // requests a second of which nine in ten keep the SLO; 0: a burst
}

// Name says in a few words what the option is.
func (o *Option) Name() string {
	if o.Both > 0 {
		return fmt.Sprintf("%s %d", o.Mode, o.Both)
	}
	return fmt.Sprintf("%s %d+%d", o.Mode, o.Prefill, o.Decode)
}

// family is the variants of one division, which differ in their batches.
type family []Option

// families are all there are to compare.
func (q *Question) families(s *sizes) []family {
	var all []family
	var whole family
	for _, batch := range around(s.mixed(0, 0, q.SLOTPOT)) {
		whole = append(whole, Option{
			Mode: schedule.Aggregated, Both: q.Engines, Window: schedule.DefaultConfig().PrefillWindow,
			Flags: map[wire.Role]lawsim.Flags{wire.RoleBoth: {Batch: batch, Seqs: seqs}},
		})
	}
	all = append(all, whole)
	prefill := s.prefill()
	perSecond := s.prompts(prefill) / float64(q.InputLen)
	for p := 1; p < q.Engines; p++ {
		d := q.Engines - p
		others := float64(p) / float64(d) * perSecond * float64(q.OutputLen) * q.SLOTPOT.Seconds() // answers whose prompts prefill engines computed
		sized := around(s.mixed(others, hole, q.SLOTPOT))
		var elastic family
		for _, batch := range sized {
			elastic = append(elastic, divided(schedule.Elastic, p, d, prefill, batch))
		}
		all = append(all, elastic, family{divided(schedule.Split, p, d, prefill, sized[len(sized)-1])})
	}
	return all
}

// around is the sizes that are tried instead of a calculated one, smallest first.
func around(batch int) (out []int) {
	for _, percent := range []int{33, 50, 75, 100, 125} {
		size := min(largest, max(smallest, batch*percent/100/grain*grain))
		if len(out) == 0 || size > out[len(out)-1] {
			out = append(out, size)
		}
	}
	return out
}

func divided(mode schedule.Mode, prefill, decode, prefillBatch, decodeBatch int) Option {
	return Option{
		Mode: mode, Prefill: prefill, Decode: decode, Window: prefillBatch,
		Flags: map[wire.Role]lawsim.Flags{
			wire.RolePrefill: {Batch: prefillBatch, Seqs: seqs},
			wire.RoleDecode:  {Batch: decodeBatch, LongPrompt: max(grain, decodeBatch-hole), Seqs: seqs},
		},
	}
}

// law is the settings of the option's dispatcher.
func (o *Option) law(slo lawsim.SLO) schedule.Config {
	c := schedule.DefaultConfig()
	c.Mode, c.PrefillWindow, c.SLO = o.Mode, o.Window, schedule.SLO(slo)
	if o.Mode == schedule.Split {
		c.ShortPrompt = 0
	}
	return c
}

// deployment is what is played.
func (o *Option) deployment(q *Question) lawsim.Deployment {
	d := lawsim.Deployment{Law: o.law(q.slo()), GBps: q.TransferGBps}
	for _, some := range o.engines() {
		for range some.n {
			d.Workers = append(d.Workers, lawsim.Worker{Role: some.role, Profile: q.Profile, Flags: o.Flags[some.role]})
		}
	}
	return d
}

type engines struct {
	role wire.Role
	n    int
}

// engines lists the option's engines by role, in the order in which people read them.
func (o *Option) engines() (out []engines) {
	for _, e := range []engines{{wire.RolePrefill, o.Prefill}, {wire.RoleDecode, o.Decode}, {wire.RoleBoth, o.Both}} {
		if e.n > 0 {
			out = append(out, e)
		}
	}
	return out
}
