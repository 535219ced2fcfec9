package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind says how a request failed.
type Kind string

// The kinds of failures. A status other than 200 has a kind of its own: KindOfStatus.
const (
	Connect   Kind = "connect"   // no connection
	Broken    Kind = "broken"    // the connection or the stream ended before [DONE]
	Protocol  Kind = "protocol"  // the answer is no event stream, or its events are not what OpenAI defines
	InStream  Kind = "in_stream" // the server sent an error within the stream
	Empty     Kind = "empty"     // the stream ended well and held no token
	Timeout   Kind = "timeout"   // longer than Options.Timeout
	Cancelled Kind = "cancelled" // the run was ended
	Skipped   Kind = "skipped"   // not sent: the endpoint cannot take it, or an earlier turn of the conversation failed
	Unknown   Kind = "unknown"   // a file that was read does not say
)

// KindOfStatus is the kind of a failure with an HTTP status, such as http_429.
func KindOfStatus(status int) Kind { return Kind(fmt.Sprintf("http_%d", status)) }

// Failure is why a request has no whole answer.
type Failure struct {
	Kind    Kind
	Message string
}

func (f *Failure) Error() string { return string(f.Kind) + ": " + f.Message }

const (
	maxErrorBody = 64 << 10 // of an answer with an error status
	maxMessage   = 300      // bytes of an error that are kept
)

// clip is the beginning of a text from outside, for messages.
func clip(b []byte) string {
	if len(b) > maxMessage {
		return strings.ToValidUTF8(string(b[:maxMessage]), "") + "…"
	}
	return strings.ToValidUTF8(string(b), "")
}

var errTimeout = errors.New("no whole answer in time")

// errDial marks the errors of opening a connection.
var errDial = errors.New("connect")

// failure gives an error of a call the kind that it is counted under.
func failure(ctx context.Context, err error) *Failure {
	var known *Failure
	kind := Broken
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(context.Cause(ctx), errTimeout):
		kind, err = Timeout, errTimeout
	case ctx.Err() != nil:
		kind, err = Cancelled, context.Cause(ctx)
	case errors.Is(err, errNotSSE):
		kind = Protocol
	case errors.Is(err, errDial):
		kind = Connect
	}
	return &Failure{Kind: kind, Message: clip([]byte(err.Error()))}
}
