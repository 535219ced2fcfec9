package app

import (
	"cmp"
	"context"
	"io"
	"log/slog"

	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/telemetry"
)

// natsListen is where a NATS server of its own listens if nats_server.listen says nothing: where processes look
// for one if nats.url says nothing.
const natsListen = "127.0.0.1:4222"

// RunNATS runs the embedded NATS server as a process of its own until ctx ends.
func RunNATS(ctx context.Context, cfg *Config, logs io.Writer) error {
	log := telemetry.Logger(cfg.Log, logs)
	own := cfg.Embedded
	own.Listen = cmp.Or(own.Listen, natsListen)
	server, err := natsd.Start(own, log)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "NATS server runs", slog.String("url", server.ClientURL()))
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return server.Stop(stop)
}
