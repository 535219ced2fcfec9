package supervise

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// State is where a program is in its life.
type State string

// The states of a program.
const (
	Starting State = "starting"
	Ready    State = "ready"
	Down     State = "down" // it ended, and is started again after Pause
	Stopped  State = "stopped"
)

// Status is what is known about a program at one moment.
type Status struct {
	Name   string
	State  State
	Phase  string    // Starting: what the program is doing, by its own lines
	Detail string    // Starting: how far it is with that, such as 42%
	Begun  time.Time // of the latest start
	At     time.Time // of this status
	Err    error     // Down: how it ended
	Pause  time.Duration
}

// ErrFailed says that a program ended before it was ever ready: it is not started again, as what is wrong
// with it is wrong for good.
var ErrFailed = errors.New("it ended before it was ready")

// endError says how a program ended, in its own last words.
type endError struct {
	name string
	how  error
	said last
}

func (e *endError) Unwrap() error { return e.how }

// Error is one line, or several if the program said something.
func (e *endError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.name, e.how)
	if e.said.cause != "" {
		fmt.Fprintf(&b, "\n  cause: %s", e.said.cause)
	}
	if len(e.said.lines) > 0 {
		b.WriteString("\n  its last lines:")
	}
	for _, line := range e.said.lines {
		b.WriteString("\n    " + line)
	}
	return b.String()
}

// Cause is the first line by which a program that ended said why; "" if it did not.
func Cause(err error) string {
	var end *endError
	if !errors.As(err, &end) {
		return ""
	}
	return end.said.cause
}

// brief is how a program ended on one line, with the cause if it named one.
func brief(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if cause := Cause(err); cause != "" {
		line += ": " + cause
	}
	return line
}
