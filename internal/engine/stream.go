package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
)

// Stream is a streamed answer. One goroutine uses it at a time; to stop a Next from elsewhere, end
// the context that Client.Stream was given.
type Stream struct {
	answer  *answer
	dialect wire.Dialect
	events  *sse.Reader
	ended   func(error)
	last    bool  // the event that ends the answer has come; only a plain [DONE] may follow
	err     error // what Next returns from now on
	closed  bool
}

// tailTime bounds the wait for what follows the last event of a named stream.
const tailTime = time.Second

// Next returns the next event, valid until the next call. io.EOF: the stream ended as its dialect
// says. ErrCut: it ended before. Further errors are those of Client.Post. After an error every
// call returns that error.
func (s *Stream) Next() (sse.Event, error) {
	if s.err != nil {
		return sse.Event{}, s.err
	}
	event, err := s.events.Next()
	switch {
	case err == nil && s.dialect == wire.Plain && bytes.Equal(event.Data, sse.Done):
		s.err = io.EOF
	case err == nil:
		if s.dialect.Last(typeOf(s.dialect, event)) {
			s.last, s.answer.idle = true, tailTime
		}
		return event, nil
	case s.last: // however it ended, nothing of the answer is missing
		s.err = io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.err = ErrCut
	case errors.Is(err, sse.ErrTooLarge):
		s.err = fmt.Errorf("read stream: %w: %w", ErrTooLarge, err)
	default:
		s.err = fmt.Errorf("read stream: %w", err)
	}
	return sse.Event{}, s.err
}

// More tells whether Next would return without waiting for the engine; see sse.Reader.
func (s *Stream) More() bool { return s.err == nil && s.events.More() }

const (
	endTime  = 100 * time.Millisecond
	endBytes = 4 << 10
)

// Close ends the call. Before the stream's end it closes the connection, which tells the engine to
// stop; after it, it waits shortly for the end of the body, so that the connection can be used
// again. It is idempotent.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if errors.Is(s.err, io.EOF) {
		s.answer.idle = endTime
		for n := 0; n < endBytes; {
			part, err := s.answer.next()
			if err != nil {
				break // at its end; else it only costs the connection
			}
			n += len(part)
		}
	}
	s.answer.close()
	switch {
	case s.err == nil:
		s.err = errAbandoned
		s.ended(errAbandoned)
	case errors.Is(s.err, io.EOF):
		s.ended(nil)
	default:
		s.ended(s.err)
	}
	return nil
}
