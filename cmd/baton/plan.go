package main

import (
	"context"
	"io"

	"github.com/baton-llm/baton/internal/plan"
)

// planCommand is the flags of `baton plan`.
type planCommand struct {
	plan.Question `embed:""`
}

func (p *planCommand) run(ctx context.Context, out io.Writer) error {
	advice, err := plan.Make(ctx, p.Question)
	if err != nil {
		return err
	}
	return advice.Print(out)
}
