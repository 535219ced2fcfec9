package stub

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const maxBody = 64 << 20

// request is one request as it came; its memory is used again for the next.
type request struct {
	method, path string
	id           string // X-Request-Id
	body         []byte
}

// read takes the next request of a connection.
func (r *request) read(in *bufio.Reader) error {
	line, err := readLine(in)
	if err != nil {
		return err
	}
	parts := strings.SplitN(line, " ", 3)
	if len(parts) != 3 {
		return fmt.Errorf("request line %.100q is none", line)
	}
	*r = request{method: parts[0], path: parts[1], body: r.body[:0]}
	length := 0
	for {
		line, err := readLine(in)
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "content-length"):
			if length, err = strconv.Atoi(value); err != nil || length < 0 || length > maxBody {
				return fmt.Errorf("content length %.100q is not from 0 to %d", value, maxBody)
			}
		case strings.EqualFold(name, "transfer-encoding"):
			return errors.New("bodies of unknown length are not read here")
		case strings.EqualFold(name, "x-request-id"):
			r.id = value
		}
	}
	if cap(r.body) < length {
		r.body = make([]byte, length)
	}
	r.body = r.body[:length]
	_, err = io.ReadFull(in, r.body)
	return err
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(line, "\r\n")), nil
}

// has tells whether the body has this member with this value, by its bytes alone: prompts of benchmarks quote none.
func (r *request) has(member, value string) bool {
	return string(r.member(member, len(value))) == value
}

// count is the value of a member that is a number; otherwise if there is none.
func (r *request) count(member string, otherwise int) int {
	digits := r.member(member, 9)
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	if v, err := strconv.Atoi(string(digits[:n])); err == nil {
		return v
	}
	return otherwise
}

// member returns the first n bytes of a member's value; nil: there is none.
func (r *request) member(name string, n int) []byte {
	needle := `"` + name + `"`
	at := bytes.Index(r.body, []byte(needle))
	if at < 0 {
		return nil
	}
	rest := bytes.TrimLeft(r.body[at+len(needle):], ": ")
	return rest[:min(n, len(rest))]
}

// pace is the time between two tokens that the prompt asks for by the words "pace=5ms", so that it passes every router;
// 0: as fast as it goes.
func (r *request) pace() time.Duration {
	_, rest, ok := bytes.Cut(r.body[:min(len(r.body), 1000)], []byte("pace="))
	if !ok {
		return 0
	}
	end := bytes.IndexByte(rest, ' ')
	if end < 0 {
		return 0
	}
	d, err := time.ParseDuration(string(rest[:end]))
	if err != nil || d < time.Millisecond {
		return 0
	}
	return d
}
