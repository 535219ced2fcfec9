package main

import (
	"context"
	"errors"
	"io"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/wire"
)

func (r *roleCommand) run(ctx context.Context, cfg *app.Config, out, logs io.Writer) error {
	switch {
	case r.Worker == "":
		return app.ListWorkers(ctx, cfg, out, logs)
	case r.Role == "":
		return errors.New("say which role: baton role WORKER prefill|decode|both")
	}
	return app.SetRole(ctx, cfg, r.Worker, wire.Role(r.Role), out, logs)
}
