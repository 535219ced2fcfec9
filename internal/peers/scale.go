package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// scaleCommand measures baton alone, at several sizes of one thing and all else as it is.
type scaleCommand struct {
	Quick  bool          `help:"One short round of the smaller sizes, for development."`
	Rounds int           `help:"Rounds." default:"3"`
	Window time.Duration `help:"How long one load lasts." default:"5s"`
	Series []string      `help:"Names of the series; default: all." placeholder:"NAME"`
	Baton  string        `help:"Binary of baton; default: it is built." type:"path" placeholder:"FILE"`
	Out    string        `help:"Where the figures go: FILE.json, FILE.md and FILE.svg." type:"path" default:"scale" placeholder:"FILE"`
}

// growthReport is the file of figures of scaleCommand.
type growthReport struct {
	conditions

	Files  int      `json:"files"` // descriptors that one process may have
	Growth []growth `json:"growth"`
}

// growth is one load at one size in one round.
type growth struct {
	sample

	Series string  `json:"series"`
	Size   int     `json:"size"`
	Asked  float64 `json:"asked"` // tokens in a second; 0: as many as go
	Idle   float64 `json:"idle"`  // part of one processor that is busy before there are requests; not measured where these begin all at once
}

// Run measures and writes.
func (c *scaleCommand) Run(ctx context.Context) error {
	if c.Quick {
		c.Rounds, c.Window = 1, time.Second
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "baton-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if c.Baton, err = built(ctx, c.Baton, dir); err != nil {
		return err
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	s, both, err := engines(ctx, self, dir, mostModels)
	defer both.stop()
	if err != nil {
		return err
	}
	r := &growthReport{conditions: now(c.Rounds, c.Window), Files: int(min(files.Max, 1<<20))}
	points := slices.DeleteFunc(points(c.Baton, r.Files, c.Quick), func(p point) bool { return len(c.Series) > 0 && !slices.Contains(c.Series, p.series) })
	if len(points) == 0 {
		return fmt.Errorf("no series is called %q", c.Series)
	}
	if err := r.measure(ctx, s, points, os.Stdout); err != nil {
		return err
	}
	return write(r, c.Out)
}

// measure plays all rounds, every other one backwards. A size that cannot be measured is left out of its round.
func (r *growthReport) measure(ctx context.Context, s *site, points []point, out io.Writer) error {
	for round := range r.Rounds {
		for _, p := range points {
			g, err := p.measure(ctx, s, r.Window)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				fmt.Fprintf(out, "%d %-10s %6d  left out: %v\n", round, p.series, p.size, err)
				r.Absent = append(r.Absent, absent{Name: fmt.Sprintf("%s %d, round %d", p.series, p.size, round), Why: err.Error()})
				continue
			}
			g.Round = round
			r.Growth = append(r.Growth, *g)
			fmt.Fprintf(out, "%d %-10s %6d  %s  idle %.1f%%  %d MiB\n", round, p.series, p.size, &g.sample, 100*g.Idle, g.peak()>>20)
		}
		slices.Reverse(points)
	}
	return nil
}

// measure has one size measured on processes of its own.
func (p *point) measure(ctx context.Context, s *site, window time.Duration) (*growth, error) {
	r, err := p.start(ctx, s)
	defer r.stop()
	if err != nil {
		return nil, err
	}
	g := &growth{Series: p.series, Size: p.size}
	if p.cell.Pace > 0 {
		g.Asked = float64(p.cell.Conns) / p.cell.Pace.Seconds()
	}
	if !p.cell.Once {
		if g.Idle, err = r.idle(ctx, window); err != nil {
			return nil, err
		}
	}
	played, err := one(ctx, r, &p.cell, window)
	if err != nil {
		return nil, err
	}
	g.sample = *played
	return g, nil
}

// idle is the part of one processor that the router takes without any request.
func (r *router) idle(ctx context.Context, window time.Duration) (float64, error) {
	before, err := r.measure()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	wall := time.Since(begun)
	after, err := r.measure()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for name, u := range after {
		sum += u.cpu - before[name].cpu
	}
	return sum.Seconds() / wall.Seconds(), nil
}
