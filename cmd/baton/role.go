package main

import (
	"errors"

	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/wire"
)

type roleCommand struct {
	Worker string `arg:"" optional:"" help:"Name of the worker; without one, all are listed."`
	Role   string `arg:"" optional:"" help:"prefill, decode or both."`
}

// Run lists workers, or changes the role of one.
func (r *roleCommand) Run(s *session) error {
	switch {
	case r.Worker == "":
		return (&workersCommand{}).Run(s)
	case r.Role == "":
		return errors.New("say which role: baton role WORKER prefill|decode|both")
	}
	return s.atDesk(func(d *operator.Desk) error { return d.SetRole(s.ctx, r.Worker, wire.Role(r.Role), s.out) })
}
