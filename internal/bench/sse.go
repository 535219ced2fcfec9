package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxLine bounds one line of a stream. The ids of a long prompt, which a server may send back in
// its first event, are some 100 KiB.
const maxLine = 8 << 20

var (
	errNotSSE = errors.New("not a stream of server-sent events")
	errNoDone = errors.New("the stream ended without [DONE]")
	doneMark  = []byte("[DONE]")
)

// events reads server-sent events. It is strict: a line that no event stream has, and anything but
// comments behind [DONE], are faults.
type events struct {
	r    *bufio.Reader
	data []byte // of the event that is being read; valid until the next call
	done bool
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReaderSize(r, 16<<10)} }

// next returns the data of the next event and the moment when its last byte was here. It returns
// io.EOF at the end of a stream that [DONE] closed, and errNoDone at any other.
func (e *events) next() ([]byte, time.Time, error) {
	e.data = e.data[:0]
	begun := false
	for {
		line, err := e.line()
		at := time.Now()
		switch {
		case errors.Is(err, io.EOF) && e.done && len(line) == 0 && !begun:
			return nil, at, io.EOF
		case errors.Is(err, io.EOF):
			return nil, at, errNoDone
		case err != nil:
			return nil, at, err
		}
		if len(line) == 0 {
			if !begun {
				continue
			}
			begun = false
			if e.done {
				return nil, at, fmt.Errorf("%w: an event after [DONE]", errNotSSE)
			}
			if bytes.Equal(e.data, doneMark) {
				e.done = true
				continue
			}
			return e.data, at, nil
		}
		isData, err := e.field(line, begun)
		if err != nil {
			return nil, at, err
		}
		begun = begun || isData
	}
}

// field takes one line of an event and reports whether it was data.
func (e *events) field(line []byte, begun bool) (bool, error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch string(name) {
	case "data":
		if begun {
			e.data = append(e.data, '\n')
		}
		e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
		return true, nil
	case "", "event", "id", "retry": // "": a comment
		return false, nil
	default:
		return false, fmt.Errorf("%w: the line %q", errNotSSE, clip(line))
	}
}

// line returns the next line without its end, which is LF or CRLF.
func (e *events) line() ([]byte, error) {
	line, err := e.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > maxLine {
				return nil, fmt.Errorf("%w: a line of more than %d bytes", errNotSSE, maxLine)
			}
			line, err = e.r.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err != nil {
		return line, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}
