package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// runCommand measures.
type runCommand struct {
	Quick    bool          `help:"One short round, for development."`
	Rounds   int           `help:"Rounds." default:"5"`
	Window   time.Duration `help:"How long one load lasts." default:"5s"`
	Cells    []string      `help:"Names of the loads; default: all." placeholder:"NAME"`
	Only     []string      `help:"Names of the routers (a part is enough); default: all that can be had." placeholder:"NAME"`
	Profiles string        `help:"Folder for profiles of baton as one process, during each load." type:"existingdir" placeholder:"FOLDER"`
	Baton    string        `help:"Binary of baton; default: it is built." type:"path" placeholder:"FILE"`
	Out      string        `help:"Where the figures go: FILE.json, FILE.md and FILE.svg." type:"path" default:"peers" placeholder:"FILE"`
}

// report is the file of figures.
type report struct {
	conditions

	Cells   []cell   `json:"cells"`
	Routers []about  `json:"routers"`
	Samples []sample `json:"samples"`
}

// about is a router as readers know it.
type about struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	How     string `json:"how"`
	Split   bool   `json:"split"`
}

// absent is a router that cannot be measured here, and why.
type absent struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Run measures and writes.
func (c *runCommand) Run(ctx context.Context) error {
	if c.Quick {
		c.Rounds, c.Window = 1, time.Second
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "baton-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if c.Baton, err = built(ctx, c.Baton, dir); err != nil {
		return err
	}
	wanted := slices.DeleteFunc(cells(c.Quick), func(l cell) bool { return len(c.Cells) > 0 && !slices.Contains(c.Cells, l.Name) })

	site, both, err := engines(ctx, self, dir, 1)
	defer both.stop()
	if err != nil {
		return err
	}
	r := &report{conditions: now(c.Rounds, c.Window), Cells: wanted}
	routers := []*router{{name: direct, addr: site.decode}}
	defer func() {
		for _, r := range routers {
			r.stop()
		}
	}()
	for _, e := range c.entrants() {
		started, err := e.start(ctx, site)
		if started != nil {
			routers = append(routers, started)
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", e.name, err)
			r.Absent = append(r.Absent, absent{Name: e.name, Why: err.Error()})
			started.stop()
			routers = routers[:len(routers)-1]
		}
	}
	for _, s := range routers {
		r.Routers = append(r.Routers, about{Name: s.name, Version: s.version, How: s.how, Split: s.split})
	}
	if r.Samples, err = rounds(ctx, routers, wanted, c.Rounds, c.Window, c.Profiles, os.Stdout); err != nil {
		return err
	}
	return write(r, c.Out)
}

// direct is the name of the way without a router: to the decode engine.
const direct = "direct"

// entrant is a router that may be measured.
type entrant struct {
	name  string
	start func(ctx context.Context, s *site) (*router, error)
}

// entrants are those that were asked for.
func (c *runCommand) entrants() []entrant {
	all := []entrant{
		{"nginx, decode leg only", nginx},
		{"envoy, decode leg only", envoy},
		{"baton", func(ctx context.Context, s *site) (*router, error) { return batonUp(ctx, s, c.Baton, s.pairs) }},
		{"baton, four processes", func(ctx context.Context, s *site) (*router, error) { return batonApart(ctx, s, c.Baton, 1) }},
	}
	for _, p := range rusts {
		all = append(all, entrant{p.name, p.split})
	}
	return slices.DeleteFunc(all, func(e entrant) bool {
		return len(c.Only) > 0 && !slices.ContainsFunc(c.Only, func(part string) bool { return strings.Contains(e.name, part) })
	})
}

// figures is a report that can be written.
type figures interface {
	markdown(w io.Writer)
	plot(w io.Writer)
}

// write writes the figures to files beside each other, and what people read of them.
func write(r figures, base string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	var tables, plot bytes.Buffer
	r.markdown(&tables)
	r.plot(&plot)
	return errors.Join(
		os.WriteFile(base+".json", append(text, '\n'), 0o644),
		os.WriteFile(base+".md", tables.Bytes(), 0o644),
		os.WriteFile(base+".svg", plot.Bytes(), 0o644),
	)
}
