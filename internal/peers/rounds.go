package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/baton-llm/baton/internal/peers/load"
)

// sample is one load on one router in one round.
type sample struct {
	Router   string                   `json:"router"`
	Cell     string                   `json:"cell"`
	Round    int                      `json:"round"`
	Requests int                      `json:"requests"`
	Failed   int                      `json:"failed"`
	Tokens   int                      `json:"tokens"`
	AtOnce   int                      `json:"at_once"` // the most answers under way
	Wall     time.Duration            `json:"wall"`
	TTFT50   time.Duration            `json:"ttft_p50"`
	TTFT99   time.Duration            `json:"ttft_p99"`
	Gap50    time.Duration            `json:"gap_p50"` // between two tokens
	Gap99    time.Duration            `json:"gap_p99"`
	CPU      map[string]time.Duration `json:"cpu"`  // by process
	Base     map[string]int64         `json:"base"` // bytes of memory before the load, by process
	Peak     map[string]int64         `json:"peak"` // the most of it during the load
	Error    string                   `json:"error,omitempty"`
}

// rounds plays every cell on every router, n times. The order within a cell turns from round to round. Profiles of those
// that have them go to the folder of that name, if it is not empty.
func rounds(ctx context.Context, routers []*router, cells []cell, n int, window time.Duration, profiles string, out io.Writer) (samples []sample, err error) {
	for round := range n {
		for _, c := range cells {
			for i := range routers {
				r := routers[(i+round)%len(routers)]
				if ctx.Err() != nil {
					return samples, context.Cause(ctx)
				}
				profiled := profile(ctx, r, &c, window, profiles)
				s, err := one(ctx, r, &c, window)
				if err := errors.Join(err, profiled()); err != nil {
					return samples, err
				}
				s.Round = round
				samples = append(samples, *s)
				fmt.Fprintf(out, "%d %-10s %-22s %s\n", round, c.Name, r.name, s)
			}
		}
	}
	return samples, nil
}

func (s *sample) String() string {
	text := fmt.Sprintf("%6d requests %4d failed  %8.1f/s  TTFT p50 %9s p99 %9s  gap p99 %9s  CPU %.3f s/1000  %5.1f us/token",
		s.Requests, s.Failed, s.rate(), s.TTFT50.Round(time.Microsecond), s.TTFT99.Round(time.Microsecond), s.Gap99.Round(time.Microsecond), s.perThousand(), s.perToken())
	if s.Error != "" {
		text += "  " + s.Error
	}
	return text
}

func (s *sample) rate() float64 { return float64(s.Requests) / s.Wall.Seconds() }

func (s *sample) cpu() (sum time.Duration) {
	for _, d := range s.CPU {
		sum += d
	}
	return sum
}

func (s *sample) peak() int64 { return total(s.Peak) }

// total is the sum over all processes.
func total(byProcess map[string]int64) (sum int64) {
	for _, n := range byProcess {
		sum += n
	}
	return sum
}

// perThousand is the processor time of 1000 requests in seconds.
func (s *sample) perThousand() float64 { return 1000 * s.cpu().Seconds() / float64(max(1, s.Requests)) }

// perToken is the processor time of one token in microseconds.
func (s *sample) perToken() float64 { return 1e6 * s.cpu().Seconds() / float64(max(1, s.Tokens)) }

// warmUp is how many requests each connection makes before it is measured, in cells that do not begin all at once.
const warmUp = 3

func one(ctx context.Context, r *router, c *cell, window time.Duration) (*sample, error) {
	plan := c.plan(r, window)
	if !c.Once {
		warm := *plan
		warm.PerConn = warmUp
		if _, err := load.Run(ctx, &warm); err != nil {
			return nil, err
		}
	}
	for _, p := range r.processes {
		forgetPeak(p.cmd.Process.Pid)
	}
	before, err := r.measure()
	if err != nil {
		return nil, err
	}
	result, err := load.Run(ctx, plan)
	if err != nil {
		return nil, err
	}
	s := &sample{
		Router: r.name, Cell: c.Name, Requests: result.Requests, Failed: result.Failed, Tokens: result.Tokens, AtOnce: result.AtOnce, Wall: result.Wall,
		TTFT50: load.Quantile(result.TTFT, .5), TTFT99: load.Quantile(result.TTFT, .99), Gap50: load.Quantile(result.Gaps, .5), Gap99: load.Quantile(result.Gaps, .99),
		CPU: map[string]time.Duration{}, Base: map[string]int64{}, Peak: map[string]int64{},
	}
	if result.Err != nil {
		s.Error = result.Err.Error()
	}
	after, err := r.measure()
	if err != nil {
		return nil, err
	}
	for name, u := range after {
		s.CPU[name], s.Base[name], s.Peak[name] = u.cpu-before[name].cpu, before[name].peak, u.peak
	}
	return s, nil
}

// measure reads what each process of the router has used so far.
func (r *router) measure() (map[string]usage, error) {
	all := map[string]usage{}
	for _, p := range r.processes {
		u, err := measure(p.cmd.Process.Pid)
		if err != nil {
			return nil, fmt.Errorf("%s: %s is gone: %w: %s", r.name, p.name, err, p.lastWords())
		}
		all[p.name] = u
	}
	return all, nil
}
