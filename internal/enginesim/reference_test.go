package enginesim

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"testing"
	"time"
)

var (
	long     = flag.Bool("long", false, "run every row of the reference benchmark, not only the quick ones")
	rowsFile = flag.String("rows", "", "write the rows that ran to this file, as JSON")
)

// row is one deployment under the reference benchmark's load: 2000 prompts of 8192 tokens at once,
// 200 tokens out. docs/simulation.md tells where the figures that it is held against come from.
type row struct {
	Name    string `json:"name"`
	Profile string `json:"profile"`
	Engines int    `json:"engines"` // that take prompts
	Budget  int    `json:"budget"`  // tokens of an iteration
	Split   bool   `json:"split"`   // an engine of its own decodes
	KV      int    `json:"kv_tokens"`

	Operators bool `json:"operators"` // take all the time, prompts and decodes one after the other

	inFlight int
	brief    int
	slow     *slowSplit // nil: hand-overs overlap
	quick    bool
	within   figures // relative; 0: not held against anything

	Want figures `json:"want"`
	Got  figures `json:"got"`
}

// slowSplit is what made the published split slow.
type slowSplit struct {
	hostTime time.Duration // of the decode engine
	gbps     float64       // between the engines
}

var (
	// what the public simulator says today, held to the bounds that make ours credible
	toSimulator = figures{Seconds: 0.03, TTFT: 0.03, P99: 0.10}
	// what people measured; of the client's loop only its width is known, and that roughly
	toPublished = figures{Seconds: 0.03, TTFT: 0.07, P99: 0.03}
	// what the default profiles gave when policies were judged by them
	toDefaults = figures{Seconds: 0.01, TTFT: 0.01, P99: 0.03}
)

const (
	tp4 = "llama-70b-h100-tp4"
	tp8 = "llama-70b-h100-tp8"
)

var rows = []row{
	{
		Name: "simulator TP8, 8192", Profile: tp8, Engines: 1, Budget: 8192, KV: 1338649, Operators: true, within: toSimulator,
		Want: figures{Seconds: 773.9, TTFT: 384.2, TPOT: 294.9, P99: 307.0},
	},
	{
		Name: "simulator TP8, 2048", Profile: tp8, Engines: 1, Budget: 2048, KV: 1350937, Operators: true, within: toSimulator,
		Want: figures{Seconds: 846.2, TTFT: 421.6, TPOT: 101.9, P99: 103.1},
	},
	{
		Name: "simulator 2 x TP4, 8192", Profile: tp4, Engines: 2, Budget: 8192, KV: 454016, Operators: true, within: toSimulator,
		Want: figures{Seconds: 705.6, TTFT: 350.6, TPOT: 180.5, P99: 187.9},
	},
	{
		Name: "simulator 2 x TP4, 1024", Profile: tp4, Engines: 2, Budget: 1024, KV: 461184, Operators: true, within: toSimulator, quick: true,
		Want: figures{Seconds: 744.2, TTFT: 370.3, TPOT: 89.5, P99: 90.5},
	},
	{
		Name: "simulator split TP4 + TP4", Profile: tp4, Engines: 1, Budget: 8192, Split: true, KV: 454016, Operators: true, within: toSimulator,
		Want: figures{Seconds: 1156.7, TTFT: 577.1, TPOT: 17.4, P99: 17.4},
	},
	{
		Name: "published monolith", Profile: tp8, Engines: 1, Budget: 8192, inFlight: 1250, within: figures{Seconds: 0.03, TTFT: 0.07},
		Want: figures{Seconds: 777, TTFT: 325, P99: 1107},
	},
	{
		Name: "published monolith, 26,000 and brief answers", Profile: tp8, Engines: 1, Budget: 26000, inFlight: 1250, brief: 40, within: toPublished,
		Want: figures{Seconds: 777, TTFT: 325, P99: 1107},
	},
	{
		Name: "published split", Profile: tp4, Engines: 1, Budget: 8192, Split: true, inFlight: 1250, within: toPublished, quick: true,
		slow: &slowSplit{hostTime: 79 * time.Millisecond, gbps: 12.5},
		Want: figures{Seconds: 2449, TTFT: 1036, P99: 100.5},
	},
	{
		Name: "defaults TP8, 8192", Profile: tp8, Engines: 1, Budget: 8192, within: toDefaults,
		Want: figures{Seconds: 798, TTFT: 396, TPOT: 312, P99: 325},
	},
	{
		Name: "defaults TP8, 2048", Profile: tp8, Engines: 1, Budget: 2048, within: toDefaults,
		Want: figures{Seconds: 818, TTFT: 407, TPOT: 98.5, P99: 99.5},
	},
	{
		Name: "defaults 2 x TP4, 1024", Profile: tp4, Engines: 2, Budget: 1024, within: toDefaults, quick: true,
		Want: figures{Seconds: 670, TTFT: 333, TPOT: 81, P99: 81},
	},
	{
		Name: "defaults split TP4 + TP4, 4096", Profile: tp4, Engines: 1, Budget: 4096, Split: true, within: toDefaults,
		Want: figures{Seconds: 1149, TTFT: 573, TPOT: 20, P99: 20},
	},
}

// configure is the row's engine.
func (w *row) configure(role string) func(c *Config) {
	return func(c *Config) {
		c.Profile, c.MaxBatchTokens, c.KVTokens = w.Profile, w.Budget, w.KV
		if w.Operators {
			c.Efficiency, c.Unfused, c.HostTime, c.HandoverLatency, c.TransferGBps, c.BlockSize = 1, true, 1, 1, 0, 64
		}
		if w.slow != nil {
			c.TransferGBps = w.slow.gbps
			if role == roleDecode {
				c.HostTime = w.slow.hostTime
			}
		}
	}
}

func (w *row) run(r *rig) figures {
	var engines, decoders []*sim
	role := roleBoth
	if w.Split {
		role = rolePrefill
		decoders = append(decoders, r.start(roleDecode, w.configure(roleDecode)))
	}
	for range w.Engines {
		engines = append(engines, r.start(role, w.configure(role)))
	}
	burst := load{requests: 2000, input: 8192, output: 200, inFlight: w.inFlight, brief: w.brief, serial: w.slow != nil}
	return replay(burst, engines, decoders)
}

func TestReferenceRows(t *testing.T) {
	var ran []row
	for _, w := range rows {
		if !w.quick && !*long {
			continue
		}
		t.Run(w.Name, func(t *testing.T) {
			inBubble(t, func(r *rig) { w.Got = w.run(r) })
			t.Logf("%+v", w.Got)
			w.check(t, "time", w.Got.Seconds, w.Want.Seconds, w.within.Seconds)
			w.check(t, "mean TTFT", w.Got.TTFT, w.Want.TTFT, w.within.TTFT)
			w.check(t, "P99 TPOT", w.Got.P99, w.Want.P99, w.within.P99)
		})
		ran = append(ran, w)
	}
	if *rowsFile == "" {
		return
	}
	data, err := json.Marshal(ran)
	if err == nil {
		err = os.WriteFile(*rowsFile, data, 0o600)
	}
	if err != nil {
		t.Errorf("write the rows: %v", err)
	}
}

func (w *row) check(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if off := got/want - 1; within > 0 && math.Abs(off) > within {
		t.Errorf("%s is %.1f, want %.1f within %.0f%%; it is off by %+.1f%%", what, got, want, 100*within, 100*off)
	}
}
