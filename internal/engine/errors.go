package engine

import (
	"errors"
	"fmt"
	"net"

	"github.com/baton-llm/baton/internal/wire"
)

// Sentinels of what can go wrong with an answer.
var (
	ErrCut      = errors.New("the engine's stream ended before its last event")
	ErrTooLarge = errors.New("the engine's answer is larger than allowed")
	ErrTimeout  = errors.New("the engine sent no byte in time")
)

var (
	errConnect  = errors.New("the engine cannot be reached")
	errBroken   = errors.New("the connection to the engine broke")
	errProtocol = errors.New("the engine's answer is not what was asked for")
)

// StatusError is an answer with another status than 200.
type StatusError struct {
	Status      int
	Body        []byte // byte for byte; nil if it was cut or larger than an error has reason to be
	ContentType string
}

// Error names the status only: an engine's error text may quote a prompt.
func (e *StatusError) Error() string { return fmt.Sprintf("the engine answered %d", e.Status) }

// Failure puts an error of this package into the form that goes over the wire. Its message is for
// clients and names no host; the error itself is for the log. The end of the caller's own context
// is no failure of the engine: callers look at their context first.
func Failure(err error) wire.Failure {
	var status *StatusError
	var network net.Error
	switch {
	case errors.As(err, &status):
		return wire.Failure{Reason: reasonOf(status.Status), Message: status.Error(), Status: status.Status, Body: status.Body}
	case errors.Is(err, errConnect):
		return wire.Failure{Reason: wire.EngineDown, Message: errConnect.Error()}
	case errors.Is(err, ErrTimeout), errors.As(err, &network) && network.Timeout():
		return wire.Failure{Reason: wire.EngineTimeout, Message: ErrTimeout.Error()}
	}
	for _, fault := range []error{ErrCut, ErrTooLarge, errProtocol} {
		if errors.Is(err, fault) {
			return wire.Failure{Reason: wire.EngineError, Message: fault.Error()}
		}
	}
	return wire.Failure{Reason: wire.EngineDown, Message: errBroken.Error()}
}
