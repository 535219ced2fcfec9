package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

var (
	token = []byte(`" tok"`) // the text of each token of a stub's answer; see stub.Token
	done  = []byte("data: [DONE]\n\n")
)

var errCut = errors.New("the answer ended early")

// conn is one connection and what it reads into.
type conn struct {
	net.Conn

	forget func() bool // that the connection ends with its load
	buf    []byte
	answer answer
}

func open(ctx context.Context, addr string, timeout time.Duration) (*conn, error) {
	c, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, buf: make([]byte, 16<<10), forget: context.AfterFunc(ctx, func() { _ = c.Close() })}, nil
}

// close closes a connection, if there is one.
func (c *conn) close() {
	if c != nil {
		c.forget()
		_ = c.Close()
	}
}

// exchange sends one request and reads its answer to the end.
func (r *Result) exchange(c *conn, p *Plan, request []byte, began *running) error {
	start := time.Now()
	if err := c.SetDeadline(start.Add(p.Timeout)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	a := &c.answer
	*a = answer{text: a.text[:0], line: a.line[:0]}
	var last time.Time
	for !a.over {
		n, err := c.Read(c.buf)
		if n > 0 {
			came, e := a.take(c.buf[:n])
			if e != nil {
				return e
			}
			if came > 0 {
				now := time.Now()
				switch {
				case last.IsZero():
					began.begin()
					defer began.end()
					r.TTFT = append(r.TTFT, now.Sub(start))
				case p.Gaps:
					r.Gaps = append(r.Gaps, now.Sub(last))
				}
				last = now
			}
		}
		if err != nil && !a.over {
			if errors.Is(err, io.EOF) {
				err = errCut
			}
			return fmt.Errorf("read an answer after %d tokens: %w", a.tokens, err)
		}
	}
	if a.tokens != p.Tokens || !a.done {
		return fmt.Errorf("an answer has %d tokens, want %d; [DONE]: %t", a.tokens, p.Tokens, a.done)
	}
	r.Requests++
	r.Tokens += a.tokens
	return nil
}
