package main

import (
	"context"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/operator"
)

type workersCommand struct {
	jsonFlag
}

// Run lists the workers that answer.
func (w *workersCommand) Run(s *session) error {
	return s.atDesk(func(d *operator.Desk) error {
		workers, err := d.Workers(s.ctx)
		if err != nil {
			return err
		}
		if w.JSON {
			return s.asJSON(workers)
		}
		return operator.PrintWorkers(s.out, workers)
	})
}

type drainCommand struct {
	Worker  string        `arg:"" help:"Name of the worker, as baton workers lists it."`
	Keep    bool          `help:"Leave the worker running, without work."`
	Timeout time.Duration `default:"10m" help:"How long to wait for it; it goes on draining afterwards."`
}

// Run drains, and returns when nothing is left.
func (c *drainCommand) Run(s *session) error {
	ctx, cancel := context.WithTimeoutCause(s.ctx, c.Timeout, fmt.Errorf("not done within %s", c.Timeout))
	defer cancel()
	return s.atDesk(func(d *operator.Desk) error { return d.Drain(ctx, c.Worker, c.Keep, s.out) })
}

type undrainCommand struct {
	Worker string `arg:"" help:"Name of the worker."`
}

// Run gives a worker work again.
func (c *undrainCommand) Run(s *session) error {
	return s.atDesk(func(d *operator.Desk) error { return d.Undrain(s.ctx, c.Worker, s.out) })
}
