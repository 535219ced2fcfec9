package plan_test

import (
	"flag"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
	"github.com/baton-llm/baton/internal/lawsim"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/reference"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

var long = flag.Bool("long", false, "compare with all of the reference, at full length")

func TestMain(m *testing.M) {
	natsd.HoldClock()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// deployment is what `baton up` runs with these settings, as the prediction sees it.
func deployment(c *app.Config) lawsim.Deployment {
	d := lawsim.Deployment{Law: c.Schedule, GBps: c.Sim.TransferGBps}
	add := func(role wire.Role, n, batch, threshold int) {
		if batch == 0 {
			batch = c.Sim.MaxBatchTokens
		}
		for range n {
			d.Workers = append(d.Workers, lawsim.Worker{
				Role: role, Profile: c.Sim.Profile, Flags: lawsim.Flags{Batch: batch, LongPrompt: threshold, Seqs: c.Sim.MaxSeqs},
			})
		}
	}
	add(wire.RolePrefill, c.Up.Prefill, c.Up.PrefillBatch, 0)
	add(wire.RoleDecode, c.Up.Decode, c.Up.DecodeBatch, c.Up.DecodeChunk)
	add(wire.RoleBoth, c.Up.Both, 0, 0)
	return d
}

// The error that docs/plan.md states: the whole of baton, in virtual time, against the prediction for the same
// deployment and the same arrivals.
func TestErrorAgainstTheReference(t *testing.T) {
	presets := map[string]int{"burst": 60, "bursty": 80} // requests; 0: the preset's
	if *long {
		presets = map[string]int{"burst": 0, "bursty": 0, "tight": 0, "small": 0}
	}
	for name, n := range presets {
		p, err := reference.PresetByName(name)
		if err != nil {
			t.Fatal(err)
		}
		modes := []string{"aggregated", "split", "elastic"}
		if name == "bursty" && !*long {
			modes = []string{"aggregated 80 %", "elastic 80 %"}
		}
		for _, c := range reference.Only(p.Cases(n), modes) {
			if c.Name == "split, as published" {
				continue
			}
			t.Run(name+"/"+c.Name, func(t *testing.T) { compare(t, &c, p.SLO) })
		}
	}
}

func compare(t *testing.T, c *reference.Case, slo bench.SLO) {
	load, err := workload.Plan(c.Specs, bench.Completions, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rs []*lawsim.Request
	for _, r := range load.Requests {
		rs = append(rs, &lawsim.Request{Arrival: r.At, Prompt: r.InputLen, Out: r.OutputLen, Class: wire.Standard})
	}
	cfg := c.Config()
	if _, err := lawsim.Run(deployment(&cfg), rs); err != nil {
		t.Fatal(err)
	}
	is := lawsim.Sum(rs, lawsim.SLO{TTFT: slo.TTFT, TPOT: slo.TPOT})
	out := c.InBubble(t, io.Discard)
	ref := out.Summarize(slo)
	tail, _ := ref.TPOT.At(99)
	within := func(what string, got, want, percent float64) {
		off := 100 * (got - want) / want
		fault := ""
		if math.Abs(off) > percent {
			fault = fmt.Sprintf(", want within %v %%", percent)
			t.Fail()
		}
		t.Logf("%s: predicted %.2f, the reference has %.2f: %+.1f %%%s", what, got, want, off, fault)
	}
	first, each := 5.0, 10.0
	if cfg.Schedule.Mode == schedule.Elastic && slo.Set() { // one decision that differs shows for a whole burst of arrivals
		first, each = 25, 35
	}
	within("total s", is.Total.Seconds(), ref.Duration.Seconds(), 3)
	within("mean TTFT s", is.MeanTTFT.Seconds(), ref.TTFT.Mean/1000, first)
	within("P99 TPOT ms", float64(is.P99TPOT)/float64(time.Millisecond), tail, each)
	if slo.Set() {
		good := 100 * float64(ref.Good) / float64(ref.Completed+ref.Failed)
		t.Logf("good %%: predicted %.1f, the reference has %.1f", is.Good, good)
		if math.Abs(is.Good-good) > 5 {
			t.Errorf("good %%: off by %.1f", is.Good-good)
		}
	}
}
