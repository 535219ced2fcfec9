package load

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// answer follows one answer through the reads it comes in. Its body is in chunks, whose borders may be anywhere.
type answer struct {
	part part
	left int    // bytes of the chunk that are to come
	line []byte // of the head, or before a chunk, as far as it came
	text []byte // of the body: the end of what was searched, and what came since

	tokens int
	done   bool // [DONE] has come
	over   bool // the body has ended
}

// part is what the next byte belongs to.
type part uint8

const (
	status part = iota
	head
	size  // of a chunk
	chunk // its bytes
	after // the line end behind it
	last  // the line behind the last one, which has no bytes
)

// take looks at what was read and returns how many tokens are new.
func (a *answer) take(buf []byte) (came int, err error) {
	for len(buf) > 0 {
		if a.part == chunk {
			n := min(a.left, len(buf))
			a.text = append(a.text, buf[:n]...)
			buf = buf[n:]
			if a.left -= n; a.left == 0 {
				a.part = after
			}
			continue
		}
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			a.line = append(a.line, buf...)
			break
		}
		line := buf[:end]
		if len(a.line) > 0 {
			a.line = append(a.line, line...)
			line = a.line
		}
		buf = buf[end+1:]
		if err := a.read(bytes.TrimSuffix(line, []byte("\r"))); err != nil {
			return 0, err
		}
		a.line = a.line[:0]
	}
	return a.search(), nil
}

// read takes one line of what is around the bytes of the body.
func (a *answer) read(line []byte) error {
	switch a.part {
	case status:
		if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("an answer begins %.200q", line)
		}
		a.part = head
	case head:
		if name, value, _ := strings.Cut(string(line), ":"); strings.EqualFold(name, "content-length") {
			return fmt.Errorf("an answer is no stream but of length%s", value)
		}
		if len(line) == 0 {
			a.part = size
		}
	case size:
		hex, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseInt(strings.TrimSpace(hex), 16, 32)
		if err != nil {
			return fmt.Errorf("read the size of a chunk: %w", err)
		}
		a.left, a.part = int(n), chunk
		if n == 0 {
			a.part = last
		}
	case after:
		a.part = size
	case last:
		a.over = true
	case chunk: // take sees to it
	}
	return nil
}

// search counts tokens in what came, and keeps what may be the start of something.
func (a *answer) search() (came int) {
	rest := a.text
	for {
		at := bytes.Index(rest, token)
		if at < 0 {
			break
		}
		came++
		rest = rest[at+len(token):]
	}
	a.tokens += came
	a.done = a.done || bytes.Contains(rest, done)
	a.text = a.text[:copy(a.text, rest[max(0, len(rest)-len(done)+1):])]
	return came
}
