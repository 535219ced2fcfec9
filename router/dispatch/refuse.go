package dispatch

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// maxRefusals is how many are in one message: far less than what one holds.
const maxRefusals = 1024

// refuse drops jobs that will not be done, and tells their frontends so that clients need not wait.
func (l *lane) refuse(ctx context.Context, refused []schedule.Refused) {
	byFrontend := map[string][]wire.Refusal{}
	for _, r := range refused {
		job := &deliveryOf(r.Job).Job
		byFrontend[job.Frontend] = append(byFrontend[job.Frontend], wire.Refusal{
			Stream: job.Stream, Attempt: job.Attempt, Reason: r.Reason, RetryAfter: r.RetryAfter,
		})
		l.drop(ctx, r.Job, string(r.Reason))
	}
	for frontend, all := range byFrontend {
		for part := range slices.Chunk(all, maxRefusals) {
			data, err := json.Marshal(part)
			if err == nil {
				err = l.d.deps.Publish(wire.RefuseSubject(frontend), data)
			}
			if err != nil {
				l.log.WarnContext(ctx, "frontend not told of refused requests, they end by their deadlines", slog.String("frontend", frontend), slog.Any("error", err))
			}
		}
	}
}
