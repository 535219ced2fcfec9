package engine

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/baton-llm/baton/internal/wire"
)

// Sentinels of what can go wrong with an answer.
var (
	ErrCut      = errors.New("the engine's stream ended before [DONE]")
	ErrTooLarge = errors.New("the engine's answer is larger than allowed")
	ErrTimeout  = errors.New("the engine sent no byte in time")
)

var (
	errConnect  = errors.New("the engine cannot be reached")
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

// Failure puts an error of this package into the form that goes over the wire. The end of the
// caller's own context is no failure of the engine: callers look at their context first.
func Failure(err error) wire.Failure {
	f := wire.Failure{Reason: wire.EngineDown, Message: message(err)}
	var status *StatusError
	var network net.Error
	switch {
	case errors.As(err, &status):
		f.Reason, f.Status, f.Body = wire.EngineError, status.Status, status.Body
		if 400 <= f.Status && f.Status < 500 && f.Status != http.StatusRequestTimeout && f.Status != http.StatusTooManyRequests {
			f.Reason = wire.EngineRejected
		}
	case errors.Is(err, errConnect):
	case errors.Is(err, ErrTimeout):
		f.Reason = wire.EngineTimeout
	case errors.Is(err, ErrCut), errors.Is(err, ErrTooLarge), errors.Is(err, errProtocol):
		f.Reason = wire.EngineError
	case errors.As(err, &network) && network.Timeout():
		f.Reason = wire.EngineTimeout
	}
	return f
}

// message leaves out the URL, which net/http puts in front.
func message(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

// IsErrorEvent tells whether an event of a stream is an error that the engine reports after its 200.
func IsErrorEvent(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " "), []byte(`{"error"`))
}
