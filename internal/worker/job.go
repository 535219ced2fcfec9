package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// ErrStopping is the cause of a job's context when the drain time is over.
var ErrStopping = errors.New("worker is stopping")

// ErrDeadline is the cause of a job's context when the request's deadline has passed.
var ErrDeadline = errors.New("request's deadline has passed")

// Ack ends the delivery of one job; exactly one of its methods is called, once. Each bounds its time by itself.
type Ack interface {
	Done(ctx context.Context) error                       // the job is finished, well or not
	Finish() error                                        // Done without waiting for the queue: the job may come again
	Retry(ctx context.Context, delay time.Duration) error // another worker shall have it
}

// Delivery is one job as it was taken from its queue.
type Delivery[J any] struct {
	Job        J
	Deliveries int           // from 1
	Last       bool          // a Retry now would lose the job
	Queued     time.Duration // publish to this delivery
	Ack        Ack
}

// Jobs is a queue of jobs by key. Fetch yields at most n jobs and ends after wait.
type Jobs[J any] interface {
	Fetch(ctx context.Context, key string, n int, wait time.Duration) iter.Seq2[*Delivery[J], error]
}

// Run is one execution of a job as the router sees it; see relay.Run.
type Run interface {
	Context() context.Context
	Send(ctx context.Context, kind wire.Kind, payload []byte) error
	SendAhead(ctx context.Context, kind wire.Kind, payload []byte) error
	// Portion is how many bytes of Data one frame has at most, where they can be divided.
	Portion() int
	Close()
}

// Frames opens runs.
type Frames interface {
	Open(ctx context.Context, r *wire.Request) Run
}

// Error is an error that knows how to tell the router.
type Error struct {
	Failure wire.Failure
	Err     error // what happened, for the log alone: it may name hosts; nil: Failure says all
}

// Failed returns an Error with a reason and err's text.
func Failed(reason wire.Reason, err error) *Error {
	return &Error{Failure: wire.Failure{Reason: reason, Message: err.Error()}}
}

// Error returns the message for the log.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Failure.Message
}

// Bound returns the context of a job's work: it ends when nobody wants run any more, when stop
// ends, or at the request's deadline with ErrDeadline. The cause says which. Run's own context
// lives on, so that the last frame can still be sent.
func Bound(stop context.Context, run Run, r *wire.Request) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(run.Context())
	if stop.Err() != nil {
		end(context.Cause(stop))
	}
	unhook := context.AfterFunc(stop, func() { end(context.Cause(stop)) })
	cancel := func() {
		unhook()
		end(nil)
	}
	if r.Deadline.IsZero() {
		return ctx, cancel
	}
	ctx, free := context.WithDeadlineCause(ctx, r.Deadline, ErrDeadline)
	return ctx, func() {
		free()
		cancel()
	}
}

// Ended says why a job's context ended: a passed deadline is a failure to tell the router, all
// else a cause to give up. It returns err if ctx has not ended.
func Ended(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return err
	case errors.Is(cause, ErrDeadline):
		return Failed(wire.DeadlineOver, cause)
	default:
		return cause
	}
}

// Conclude ends a job that failed or was given up: the router hears of a failure, a job that was
// stopped goes back to its queue if back says so (else, or when the queue would lose it, the
// router hears that too), and one that nobody wants any more is done. Nobody waits for the queue to say
// that it has heard: a job that comes again because the connection was lost finds that the router has
// adopted another run, or ended. It returns the outcome for metrics.
func Conclude[J any](ctx context.Context, run Run, d *Delivery[J], back bool, err error, log *slog.Logger) (outcome string) {
	defer run.Close()
	again := false
	var failure *Error
	switch {
	case err == nil:
		outcome = "done"
	case errors.As(err, &failure):
	case errors.Is(err, ErrStopping) && back && !d.Last:
		outcome, again = "returned", true
	case errors.Is(err, ErrStopping):
		failure = Failed(wire.WorkerStopping, err)
	case run.Context().Err() != nil:
		outcome = "cancelled"
	default: // such as an event that is too large for a frame
		failure = Failed(wire.EngineError, err)
	}
	if failure != nil {
		outcome = string(failure.Failure.Reason)
		level := slog.LevelWarn
		if outcome == string(wire.EngineRejected) || outcome == string(wire.DeadlineOver) {
			level = slog.LevelInfo // nothing is wrong here: the client asked for it
		}
		log.Log(ctx, level, "job failed", slog.String("reason", outcome), slog.Any("error", err))
		if err := tell(context.WithoutCancel(ctx), run, &failure.Failure); err != nil { // which waits for nobody
			log.DebugContext(ctx, "failure not sent", slog.Any("error", err))
		}
	} else {
		log.LogAttrs(ctx, slog.LevelDebug, "job ended", slog.String("outcome", outcome), slog.Any("error", err))
	}
	if again {
		err = d.Ack.Retry(context.WithoutCancel(ctx), returnDelay)
	} else {
		err = d.Ack.Finish()
	}
	if err != nil {
		log.WarnContext(ctx, "job not acknowledged, it will come again", slog.Any("error", err))
	}
	return outcome
}

// tell sends the router why the run failed.
func tell(ctx context.Context, run Run, why *wire.Failure) error {
	payload, err := json.Marshal(why)
	if err != nil {
		return fmt.Errorf("send %s: %w", wire.Fail, err)
	}
	return run.Send(ctx, wire.Fail, payload)
}
