package worker

import (
	"context"
	"log/slog"

	"github.com/baton-llm/baton/internal/wire"
)

// JobLog is log with what names a job, which is put together only for lines that are written.
func JobLog(log *slog.Logger, r *wire.Request) *slog.Logger {
	return slog.New(&jobHandler{Handler: log.Handler(), request: r})
}

type jobHandler struct {
	slog.Handler

	request *wire.Request
}

func (h *jobHandler) named() slog.Handler {
	return h.Handler.WithAttrs([]slog.Attr{slog.String("request_id", h.request.ID), slog.Int("attempt", int(h.request.Attempt))})
}

// Handle implements slog.Handler.
func (h *jobHandler) Handle(ctx context.Context, line slog.Record) error {
	return h.named().Handle(ctx, line) //nolint:wrapcheck // it is the handler
}

// WithAttrs implements slog.Handler.
func (h *jobHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.named().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h *jobHandler) WithGroup(name string) slog.Handler { return h.named().WithGroup(name) }
