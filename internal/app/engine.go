package app

import (
	"context"
	"io"
	"log/slog"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/telemetry"
)

// RunEngine serves one simulated engine on worker.sim_listen until ctx ends.
func RunEngine(ctx context.Context, cfg *Config, logs io.Writer) error {
	log := telemetry.Logger(cfg.Log, logs)
	ln, err := listen(ctx, cfg.Worker.SimListen, "the engine (worker.sim_listen)")
	if err != nil {
		return err
	}
	engine, err := enginesim.New(cfg.Sim, enginesim.Options{Log: log})
	if err != nil {
		_ = ln.Close()
		return err
	}
	log.InfoContext(ctx, "simulated engine serves", slog.String("url", "http://"+ln.Addr().String()), slog.String("model", cfg.Sim.Model), slog.String("role", cfg.Sim.Role))
	return ended(engine.Run(ctx, ln))
}
