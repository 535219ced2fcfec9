package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// events reads the data of server-sent events: LF or CRLF, with comments and other fields
// skipped, several data lines joined by LF.
type events struct {
	r    *bufio.Reader
	max  int
	line []byte // of a line longer than r's buffer
	data []byte
}

func newEvents(r io.Reader, limit int) *events {
	return &events{r: bufio.NewReaderSize(r, 16<<10), max: limit}
}

var done = []byte("[DONE]")

// next returns the data of the next event, valid until the next call. io.EOF: the input ended; an
// event without its blank line is then lost, unless it is [DONE].
func (e *events) next() ([]byte, error) {
	e.data = e.data[:0]
	has := false
	for {
		line, err := e.readLine()
		if len(line) == 0 && err == nil {
			if has {
				return e.data, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(name) == "data" {
			if has {
				e.data = append(e.data, '\n')
			}
			has = true
			e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
			if len(e.data) > e.max {
				return nil, fmt.Errorf("read an event of more than %d bytes: %w", e.max, ErrTooLarge)
			}
		}
		if errors.Is(err, io.EOF) && has && bytes.Equal(e.data, done) {
			return e.data, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// slack is what a line may be longer than its event: the field's name and the line's end.
const slack = 16

// readLine returns a line without its end. With an error it returns what there was of the line.
func (e *events) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		part, err := e.r.ReadSlice('\n')
		if len(e.line)+len(part) > e.max+slack {
			return nil, fmt.Errorf("read a line of more than %d bytes: %w", e.max, ErrTooLarge)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			e.line = append(e.line, part...)
			continue
		}
		if len(e.line) > 0 {
			e.line = append(e.line, part...)
			part = e.line
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(part, []byte("\n")), []byte("\r")), err
	}
}
