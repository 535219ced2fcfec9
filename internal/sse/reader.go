// Package sse reads and writes server-sent events. It owns their form and nothing of what they
// mean or of the connections they travel on.
package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge is the error of an event that is larger than its reader allows.
var ErrTooLarge = errors.New("event is too large")

// Event is one event. Its slices are valid until its reader's next call of Next.
type Event struct {
	Name []byte // the event field; empty: none, which HTML calls "message"
	Data []byte // the data lines, joined by LF
}

// Done is the data by which OpenAI's older streams end.
var Done = []byte("[DONE]")

// Source returns the next bytes of a stream, at least one, valid until its next call; or an error, and then no bytes.
type Source func() ([]byte, error)

// Reader reads events whose lines end in LF or CRLF. Comments and fields other than event and data
// are skipped, as are events without data. While it waits for its source it keeps no more than what it has of an event.
type Reader struct {
	more Source
	max  int
	in   []byte // what more gave and Next has not read
	line []byte // of a line that came in parts
	name []byte
	data []byte
}

// NewReader returns a reader of events of which none has more than limit bytes of data.
func NewReader(more Source, limit int) *Reader { return &Reader{more: more, max: limit} }

// Next returns the next event. io.EOF: the input ended; an event without its blank line is then
// lost, unless it is Done. ErrTooLarge: nothing after it can be read.
func (r *Reader) Next() (Event, error) {
	r.name, r.data = r.name[:0], r.data[:0]
	has := false
	for {
		line, err := r.readLine()
		if len(line) == 0 && err == nil {
			if has {
				return r.event(), nil
			}
			r.name = r.name[:0]
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			r.name = append(r.name[:0], value...)
		case "data":
			if has {
				r.data = append(r.data, '\n')
			}
			has = true
			r.data = append(r.data, value...)
			if len(r.data) > r.max {
				return Event{}, fmt.Errorf("read an event of more than %d bytes: %w", r.max, ErrTooLarge)
			}
		}
		if errors.Is(err, io.EOF) && has && bytes.Equal(r.data, Done) {
			return r.event(), nil
		}
		if err != nil {
			return Event{}, err
		}
	}
}

// More tells whether Next would return at once, with what was read before: whoever passes events on may then take that
// one, too. It is false of an event that does not begin with its name or its data.
func (r *Reader) More() bool {
	there := r.in
	if bytes.HasPrefix(there, eventField) {
		_, there, _ = bytes.Cut(there, newline)
	}
	return bytes.HasPrefix(there, dataField) && (bytes.Contains(there, blankLine) || bytes.Contains(there, blankLineCR))
}

var (
	eventField  = []byte("event:")
	dataField   = []byte("data:")
	blankLine   = []byte("\n\n")
	blankLineCR = []byte("\n\r\n")
	carriage    = []byte("\r")
)

func (r *Reader) event() Event { return Event{Name: r.name, Data: r.data} }

// slack is what a line may be longer than its event: the field's name and the line's end.
const slack = 16

// readLine returns a line without its end. With an error it returns what there was of the line.
func (r *Reader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		line, rest, whole := bytes.Cut(r.in, newline)
		if len(r.line)+len(line) > r.max+slack {
			return nil, fmt.Errorf("read a line of more than %d bytes: %w", r.max, ErrTooLarge)
		}
		r.in = rest
		if whole && len(r.line) == 0 {
			return bytes.TrimSuffix(line, carriage), nil
		}
		r.line = append(r.line, line...)
		if whole {
			return bytes.TrimSuffix(r.line, carriage), nil
		}
		var err error
		if r.in, err = r.more(); err != nil {
			r.in = nil
			return bytes.TrimSuffix(r.line, carriage), err
		}
	}
}
