package supervise

import (
	"bytes"
	"strings"
)

// mostLine is the longest line that is kept whole, in bytes; the rest of a longer one is dropped.
const mostLine = 4 << 10

// lines is a writer that calls each with every line, without its end. A progress bar draws its lines
// over each other: what ends in a carriage return is a line too. It is used by one goroutine.
type lines struct {
	each func(line string)
	part []byte // a line whose end has not come yet
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			l.keep(p)
			return n, nil
		}
		l.keep(p[:end])
		l.flush()
		p = p[end+1:]
	}
	return n, nil
}

func (l *lines) keep(p []byte) {
	l.part = append(l.part, p[:min(len(p), mostLine-len(l.part))]...)
}

// flush takes what is there for a line; an empty one is none.
func (l *lines) flush() {
	line := strings.ToValidUTF8(string(l.part), "?")
	l.part = l.part[:0]
	if strings.TrimSpace(line) != "" {
		l.each(line)
	}
}

// mostLast is how many of a program's last lines are shown when it fails.
const mostLast = 15

// last keeps the last lines of one start of a program, and the first one that names a cause.
type last struct {
	isCause func(line string) bool // nil: none is
	cause   string
	lines   []string
}

func (l *last) add(line string) {
	if l.cause == "" && l.isCause != nil && l.isCause(line) {
		l.cause = line
	}
	if len(l.lines) == mostLast {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, line)
}
