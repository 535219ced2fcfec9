package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/config"
	"github.com/baton-llm/baton/internal/reference"
)

// benchReference is the flags of `baton bench reference`.
type benchReference struct {
	Preset    string        `default:"burst" help:"What to compare: ${presets}."`
	Mode      []string      `help:"Only these deployments, such as elastic,aggregated." placeholder:"NAME"`
	Requests  int           `help:"Requests of the load; 0: the preset's."`
	SLOTPOT   time.Duration `name:"slo-tpot" help:"Time per output token that the scheduler aims at; 0: the preset's."`
	Virtual   bool          `xor:"clock" help:"In virtual time: exact and repeatable, and much faster than the real thing."`
	TimeScale float64       `xor:"clock" placeholder:"20" help:"In real time, with baton in a process of its own and engines so many times faster; default: 20."`
	Show      bool          `help:"Run nothing: print the settings of the one deployment that --mode names, for baton up --config; with --time-scale, of its faster engines."`
	HTML      string        `name:"html" type:"path" placeholder:"FILE" help:"Write a report."`
}

// run prints the table. In virtual time it ends the process.
func (b *benchReference) run(ctx context.Context, out *os.File) error {
	preset, err := reference.PresetByName(b.Preset)
	if err != nil {
		return err
	}
	cases := reference.Only(preset.Cases(b.Requests), b.Mode)
	if len(cases) == 0 {
		return fmt.Errorf("preset %s has no deployment named %v", preset.Name, b.Mode)
	}
	if b.SLOTPOT > 0 {
		for i := range cases {
			cases[i].Promise(b.SLOTPOT)
		}
	}
	if b.Show {
		if len(cases) != 1 {
			return fmt.Errorf("--show prints one deployment, and --mode %s names %d", strings.Join(b.Mode, ","), len(cases))
		}
		cfg := cases[0].Config()
		reference.Scale(&cfg, cmp.Or(b.TimeScale, 1))
		return config.Print(out, &cfg, nil)
	}
	var outcomes []reference.Outcome
	each := func(o reference.Outcome) {
		outcomes = append(outcomes, o)
		fmt.Fprintf(os.Stderr, "%-22s done in %.1f s\n", o.Name, o.Took.Seconds())
	}
	finish := func() error {
		fmt.Fprintf(out, "\n%s\n\n", preset.About)
		if err := reference.Table(out, outcomes, preset.SLO); err != nil || b.HTML == "" {
			return err
		}
		file, err := os.Create(b.HTML)
		if err != nil {
			return err
		}
		if err := reference.HTML(file, preset, outcomes); err != nil {
			return err
		}
		return file.Close()
	}
	if b.Virtual {
		reference.Virtually(ctx, cases, os.Stderr, each, finish)
	}
	for i := range cases {
		o, err := cases[i].Scaled(ctx, cmp.Or(b.TimeScale, 20), os.Stderr)
		if err != nil {
			return err
		}
		each(o)
	}
	return finish()
}
