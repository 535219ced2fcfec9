package worker_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/internal/worker/workertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func ignore(int, int) {}

func TestRoomWaitsForATokenToBeFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := worker.NewRoom(0, 100, 1, ignore)
		release := room.Add(100)
		time.AfterFunc(time.Minute, release)
		start := time.Now()
		if _, err := room.Wait(t.Context(), 1, nil); err != nil || time.Since(start) != time.Minute {
			t.Errorf("Wait = %v after %v, want nil after 1m", err, time.Since(start))
		}
		release()
		if jobs, tokens, _ := room.Used(); jobs != 0 || tokens != 0 {
			t.Errorf("%d jobs and %d tokens after two releases, want none", jobs, tokens)
		}
	})
}

func TestRoomWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := worker.NewRoom(1, 0, 0, ignore)
		defer room.Add(1)()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, worker.ErrStopping)
		defer cancel()
		if _, err := room.Wait(ctx, 1, nil); !errors.Is(err, worker.ErrStopping) {
			t.Errorf("Wait = %v", err)
		}
		room = worker.NewRoom(0, 10, 0, ignore)
		defer room.Add(1)()
		if _, err := room.Fit(ctx, 10); !errors.Is(err, worker.ErrStopping) {
			t.Errorf("Fit = %v", err)
		}
	})
}

// acks notes how a delivery ended.
type acks struct{ done, retried int }

func (a *acks) Done(context.Context) error                 { a.done++; return nil }
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

// byModel has one job of each model; another model's fetch fails.
type byModel map[string]int

func (q byModel) Fetch(ctx context.Context, model string, _ int, wait time.Duration) iter.Seq2[*worker.Delivery[string], error] {
	return func(yield func(*worker.Delivery[string], error) bool) {
		if model == "broken" {
			yield(nil, errors.New("broken"))
			return
		}
		if q[model]++; q[model] == 1 {
			yield(&worker.Delivery[string]{Job: model}, nil)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func TestStageServesEveryModelPastAFailingOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := make(chan string, 10)
		room := worker.NewRoom(10, 0, 0, ignore)
		stage := worker.Stage[string]{
			Jobs: byModel{}, Models: func() []string { return []string{"a", "broken", "b"} }, Log: quiet(),
			Ready: func(ctx context.Context) (int, error) { return room.Wait(ctx, 1, nil) },
			Take:  func(context.Context, *string) (func(), error) { return room.Add(1), nil },
			Work:  func(_ context.Context, d *worker.Delivery[string], _ func()) { ran <- d.Job },
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := stage.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(ran) != 2 {
			t.Errorf("%d jobs ran, want one of each good model", len(ran))
		}
	})
}

func TestJobFetchedTooLateRunsOnlyToBeHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var cause error
		stage := worker.Stage[string]{
			Jobs: byModel{}, Models: func() []string { return []string{"a"} }, Log: quiet(), Drain: time.Hour,
			Ready: func(context.Context) (int, error) { return 1, nil },
			Take: func(context.Context, *string) (func(), error) {
				cancel()
				return nil, context.Canceled
			},
			Work: func(work context.Context, _ *worker.Delivery[string], _ func()) { cause = context.Cause(work) },
		}
		if err := stage.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(cause, worker.ErrStopping) {
			t.Errorf("the job's context ended with %v, want ErrStopping", cause)
		}
	})
}
