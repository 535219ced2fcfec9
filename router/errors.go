package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Error is a failure as the client is to see it.
type Error struct {
	Status     int           // HTTP status
	Type       string        // such as NotFoundError; empty: the status's
	Code       string        // a word for programs; may be empty
	Param      string        // the member of the request that is at fault; may be empty
	Message    string        // for people
	Body       []byte        // the engine's own error body, to be passed on as it is; nil: none
	RetryAfter time.Duration // 0: not said
	Reason     string        // why, as a metric label
	Told       bool          // the last event of the answer has said it already
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

const (
	typeNotFound    = "NotFoundError"
	typeInternal    = "InternalServerError"
	typeUnavailable = "ServiceUnavailableError"
	typeTimeout     = "TimeoutError"
	typeRateLimit   = "RateLimitError"

	unknownFleetRetry = 5 * time.Second
)

// errDeadline ends a request whose deadline passes.
var errDeadline = errors.New("request's deadline has passed")

// errClosed is why a request ends whose Answer is closed before its end.
var errClosed = errors.New("answer was closed before its end")

// errStopped is why requests end that are in flight when Run's context ends.
var errStopped = &Error{
	Status: http.StatusServiceUnavailable, Type: typeUnavailable, Code: "shutting_down", Reason: "shutting_down",
	Message: "The frontend is shutting down.", RetryAfter: time.Second,
}

// errCancelled is why requests end that an operator has cancelled. Its status is one that no client
// tries again.
var errCancelled = &Error{
	Status: http.StatusGone, Code: "cancelled", Reason: "cancelled", Message: "An operator has cancelled the request.",
}

func deadlineError() *Error {
	return &Error{
		Status: http.StatusGatewayTimeout, Type: typeTimeout, Code: string(wire.DeadlineOver), Reason: string(wire.DeadlineOver),
		Message: "The request's deadline passed before its answer was complete.",
	}
}

func noModel(model string) *Error {
	return &Error{
		Status: http.StatusNotFound, Type: typeNotFound, Code: "model_not_found", Param: "model", Reason: "model_not_found",
		Message: fmt.Sprintf("The model `%s` does not exist.", model),
	}
}

func noWorker(missing []string) *Error {
	why := strings.Join(missing, "; ")
	if why == "" {
		why = "no worker has announced a model"
	}
	return &Error{
		Status: http.StatusServiceUnavailable, Type: typeUnavailable, Code: "no_worker", Reason: "no_worker",
		Message: "No worker can take the request: " + why + ".", RetryAfter: unknownFleetRetry,
	}
}

func tooMany(what string, wait time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: "rate_limit_exceeded", Reason: what,
		Message: fmt.Sprintf("Too much is in flight (%s). Try again in %d s.", strings.ReplaceAll(what, "_", " "), wait/time.Second), RetryAfter: wait,
	}
}

func tooLate(wait time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: string(wire.TooLate), Reason: string(wire.TooLate),
		Message: fmt.Sprintf("Too much waits before the request for an answer in time. Try again in %d s.", (wait+time.Second-1)/time.Second), RetryAfter: wait,
	}
}

func unpublished() *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Type: typeUnavailable, Code: "queue_unreachable", Reason: "queue_unreachable",
		Message: "The work queue did not take the request.", RetryAfter: time.Second,
	}
}

// failed maps what a worker said after the last try. tries is how many there were.
func failed(f wire.Failure, tries int) *Error {
	e := &Error{
		Status: http.StatusBadGateway, Type: typeInternal, Code: string(f.Reason), Reason: string(f.Reason), Message: f.Message,
		Body: f.Body, Told: f.Told,
	}
	switch f.Reason {
	case wire.EngineRejected:
		e.Status, e.Type = http.StatusBadRequest, ""
		if f.Status >= 400 && f.Status < 500 {
			e.Status = f.Status
		}
		return e
	case wire.NoHandle:
		e.Message = "The prefill engine answered without a KV handle. Check that it runs with a --kv-transfer-config whose connector is the worker's, and that its kv_role allows it to produce: " + f.Message
		return e
	case wire.DeadlineOver:
		return deadlineError()
	case wire.EngineTimeout:
		e.Status, e.Type = http.StatusGatewayTimeout, typeTimeout
	case wire.EngineDown, wire.HandleExpired, wire.HandleUsed, wire.WorkerStopping, wire.JobLost, wire.RunLost:
		e.Status, e.Type, e.RetryAfter = http.StatusServiceUnavailable, typeUnavailable, time.Second
	case wire.EngineError:
		if f.Status >= 400 && f.Status < 600 { // else what came is no answer at all
			e.Status, e.Type = f.Status, ""
		}
	case wire.HandleMismatch, wire.BodyGone:
	default:
	}
	if tries > 1 {
		e.Message = fmt.Sprintf("The request failed %d times, at last so: %s", tries, f.Message)
	}
	return e
}

// ended maps why a request's context ended: a deadline is the client's or the operator's, all else
// is a client that left and reads no answer.
func ended(cause error) error {
	if errors.Is(cause, errDeadline) || errors.Is(cause, context.DeadlineExceeded) {
		return deadlineError()
	}
	return cause
}
