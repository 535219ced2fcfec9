package reference

import (
	"context"
	"fmt"
	"io"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
)

// Load is how much of the benchmark to run.
type Load struct {
	Specs       []workload.Spec
	Concurrency int // most requests in flight at the client; 0: all at once
}

// Burst is the reference workload, or its first n prompts.
func Burst(n int) Load {
	spec := workload.Default()
	spec.NumPrompts = n
	return Load{Specs: []workload.Spec{spec}}
}

// InMemory runs one row within this process, whose clock may be virtual.
func InMemory(ctx context.Context, cfg app.Config, load Load, logs io.Writer) (*bench.Result, error) {
	plan, err := workload.Plan(load.Specs, bench.Completions, 0)
	if err != nil {
		return nil, err
	}
	var result *bench.Result
	err = app.RunInMemory(ctx, &cfg, logs, func(ctx context.Context, dial app.Dialer) (err error) {
		target := bench.Target{URL: app.MemoryURL, Endpoint: bench.Completions, Model: cfg.Sim.Model, Dial: dial}
		result, err = bench.Run(ctx, target, plan, bench.Options{IgnoreEOS: true, MaxConcurrency: load.Concurrency})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("run the benchmark in memory: %w", err)
	}
	return result, nil
}
