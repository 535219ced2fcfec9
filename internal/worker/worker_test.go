package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/internal/worker/workertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// acks notes how a delivery ended.
type acks struct{ done, retried int }

func (a *acks) Done(context.Context) error                 { a.done++; return nil }
func (a *acks) Finish() error                              { a.done++; return nil }
func (a *acks) Retry(context.Context, time.Duration) error { a.retried++; return nil }

func TestConcludeNeverLosesAJobSilently(t *testing.T) {
	for name, tc := range map[string]struct {
		err           error
		back, last    bool
		cancel        bool
		outcome       string
		reason        wire.Reason
		done, retried int
	}{
		"well":                         {outcome: "done", done: 1},
		"stopped":                      {err: worker.ErrStopping, back: true, outcome: "returned", retried: 1},
		"stopped on the last delivery": {err: worker.ErrStopping, back: true, last: true, outcome: "worker_stopping", reason: wire.WorkerStopping, done: 1},
		"stopped for good":             {err: worker.ErrStopping, outcome: "worker_stopping", reason: wire.WorkerStopping, done: 1},
		"failed":                       {err: worker.Failed(wire.NoHandle, errors.New("x")), outcome: "no_handle", reason: wire.NoHandle, done: 1},
		"cancelled":                    {err: workertest.ErrCancelled, cancel: true, outcome: "cancelled", done: 1},
		"unforeseen":                   {err: errors.New("x"), outcome: "engine_error", reason: wire.EngineError, done: 1},
	} {
		t.Run(name, func(t *testing.T) {
			frames, got := workertest.NewFrames(), &acks{}
			run := frames.Open(t.Context(), &wire.Request{ID: "r"})
			if tc.cancel {
				frames.Cancel("r")
			}
			d := &worker.Delivery[int]{Last: tc.last, Ack: got}
			if outcome := worker.Conclude(t.Context(), run, d, tc.back, tc.err, quiet()); outcome != tc.outcome {
				t.Errorf("outcome = %s, want %s", outcome, tc.outcome)
			}
			if reason := frames.Reason("r"); reason != tc.reason {
				t.Errorf("reason = %q, want %q", reason, tc.reason)
			}
			if got.done != tc.done || got.retried != tc.retried {
				t.Errorf("%d done, %d handed back, want %d and %d", got.done, got.retried, tc.done, tc.retried)
			}
		})
	}
}
