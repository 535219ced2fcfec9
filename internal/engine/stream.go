package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// Stream is a streamed answer. One goroutine uses it at a time; to stop a Next from elsewhere, end
// the context that Client.Stream was given.
type Stream struct {
	answer *answer
	events *events
	ended  func(error)
	err    error // what Next returns from now on
	closed bool
}

// Next returns the data of the next event, valid until the next call. io.EOF: the stream ended
// with [DONE]. ErrCut: it ended without. Further errors are those of Client.Post. After an error
// every call returns that error.
func (s *Stream) Next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	data, err := s.events.next()
	switch {
	case err == nil && !bytes.Equal(data, done):
		return data, nil
	case err == nil:
		s.err = io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.err = ErrCut
	default:
		s.err = fmt.Errorf("read stream: %w", err)
	}
	return nil, s.err
}

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
		_, _ = io.CopyN(io.Discard, s.answer, endBytes) // an error only costs the connection
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
