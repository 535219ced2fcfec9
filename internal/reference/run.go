package reference

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
)

// Outcome is what came of a case.
type Outcome struct {
	Case

	Result *bench.Result
	Took   time.Duration // of real time
}

// inMemory runs a case within this process, whose clock may be virtual.
func (c *Case) inMemory(ctx context.Context, logs io.Writer) (*bench.Result, error) {
	plan, err := workload.Plan(c.Specs, bench.Completions, 0)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", c.Name, err)
	}
	cfg := c.Config()
	var result *bench.Result
	err = app.RunInMemory(ctx, &cfg, logs, func(ctx context.Context, dial app.Dialer) (err error) {
		target := bench.Target{URL: app.MemoryURL, Endpoint: bench.Completions, Model: cfg.Sim.Model, Dial: dial}
		result, err = bench.Run(ctx, target, plan, bench.Options{IgnoreEOS: true, MaxConcurrency: c.Concurrency})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", c.Name, err)
	}
	return result, nil
}
