package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/baton-llm/baton/internal/app"
)

// operatorCommands are what operators run beside a deployment. Each has its own Run.
type operatorCommands struct {
	Doctor doctorCommand `cmd:"" group:"Operate" help:"Look at everything that a deployment needs, and say what is wrong and what to change."`
}

// session is one run of an operator's command.
type session struct {
	ctx  context.Context //nolint:containedctx // of the one command that the session is
	cfg  *app.Config
	out  io.Writer
	logs io.Writer
}

// asJSON writes v for programs.
func (s *session) asJSON(v any) error {
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
