package engine

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/baton-llm/baton/internal/socket"
)

// asideBytes is a body that an engine which does not read it may leave unsent.
const asideBytes = 32 << 10

var errHeadTooLarge = fmt.Errorf("the head of the engine's answer has more than %d bytes", maxHeaderBytes)

// conn is a connection to the engine. One call uses it at a time; only abort is for others.
type conn struct {
	net.Conn          // with TLS, if the engine has it
	raw      net.Conn // without
	abort    func()   // closes it at once, as it is
	since    time.Time

	deadline time.Time     // of reads, as the connection knows it
	until    time.Time     // when an answer's head must be there
	idle     time.Duration // longest wait for more of a body
	inBody   bool          // idle counts, not until
	headLeft int           // bytes that the head may still have

	heard   bool // something of the answer has come
	broken  bool // a read failed for good
	sent    int  // bytes of the request
	sendErr error
	aside   chan struct{} // closed when sent and sendErr stand; nil: they do

	out   socket.Writer
	in    inbox
	fd    syscall.RawConn // nil: it has none
	probe func(fd uintptr) bool
	quiet bool // what probe found
	one   [1]byte
}

func newConn(secure, raw net.Conn) *conn {
	c := &conn{Conn: secure, raw: raw}
	c.abort = func() { _ = raw.Close() }
	if s, ok := raw.(syscall.Conn); ok {
		c.fd, _ = s.SyscallConn()
	}
	c.out.Of(secure)
	if secure == raw {
		c.in.watch(c.fd)
	}
	c.probe = func(fd uintptr) bool {
		_, err := socket.Read(fd, c.one[:])
		c.quiet = !socket.Works || errors.Is(err, socket.ErrNothing) // else the call on a closed connection tells
		return true
	}
	return c
}

// start makes the connection ready for a call whose answer's head must be there at until.
func (c *conn) start(until time.Time) {
	c.until, c.inBody, c.headLeft = until, false, maxHeaderBytes
	c.heard, c.sent, c.sendErr, c.aside = false, 0, nil, nil
	c.deadline = until
	_ = c.SetDeadline(until) // only a closed connection refuses; the write says so
}

// isQuiet tells of an idle connection that it is open and that the engine has said nothing unasked. Without a socket and
// with TLS, whose layer may hold bytes back, a read that may not wait tells.
func (c *conn) isQuiet() bool {
	if c.fd != nil {
		if c.fd.Read(c.probe) != nil || !c.quiet {
			return false
		}
		if c.raw == c.Conn {
			return true
		}
	}
	c.move(time.Unix(1, 0))
	n, err := c.Conn.Read(c.one[:])
	c.move(c.until)
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// exchange sends a request, whose head is in buf, and reads the head of its answer. An engine may answer before it has
// read the body, or close the connection to what it does not read: a request that could not be sent may have an answer.
func (c *conn) exchange(buf *[]byte, body []byte) (*http.Response, error) {
	if len(body) > asideBytes {
		c.sendAside(net.Buffers{append([]byte(nil), *buf...), body})
	} else {
		*buf = append(*buf, body...)
		if c.sent, c.sendErr = c.out.Write(*buf); c.sendErr != nil && c.sent == 0 {
			return nil, c.sendFault()
		}
	}
	res, err := c.readHead()
	if err == nil {
		return res, nil
	}
	if errors.Is(err, ErrTimeout) {
		return nil, err
	}
	c.close()
	if c.sendErr != nil {
		return nil, fmt.Errorf("%w; read answer: %w", c.sendFault(), err)
	}
	return nil, err
}

func (c *conn) sendFault() error {
	if errors.Is(c.sendErr, os.ErrDeadlineExceeded) {
		return ErrTimeout
	}
	return fmt.Errorf("send request: %w", c.sendErr)
}

// sendAside sends a large request on a goroutine of its own, which close waits for: an engine that refuses it without
// reading it would otherwise not be heard until the sending times out.
func (c *conn) sendAside(parts net.Buffers) {
	done := make(chan struct{})
	c.aside = done
	go func() {
		defer close(done)
		n, err := parts.WriteTo(c.Conn)
		c.sent, c.sendErr = int(n), err
	}()
}

// heads read the heads of answers. What they take of a body goes back.
var heads = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

func (c *conn) readHead() (*http.Response, error) {
	in := heads.Get().(*bufio.Reader)
	defer heads.Put(in)
	in.Reset(c)
	defer in.Reset(nil)
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			c.in.skip(-in.Buffered()) // of the last fill, since the head's end was not there before
			c.inBody = true
			c.broken = c.broken || res.Close || res.StatusCode == http.StatusSwitchingProtocols
			return res, nil
		}
	}
}

// Read reads a head.
func (c *conn) Read(p []byte) (int, error) {
	if c.headLeft == 0 {
		return 0, errHeadTooLarge
	}
	if c.in.unread() == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(len(p), c.headLeft)], c.in.rest())
	c.in.skip(n)
	c.headLeft -= n
	return n, nil
}

// fill waits for the engine to send something, once all that it sent has been read. The connection's own deadline is
// moved only when it is too late, or too early and has come: a stream of tokens moves it about once in an idle timeout.
func (c *conn) fill() error {
	limit := c.until
	if c.inBody {
		limit = time.Now().Add(c.idle)
	}
	if limit.Before(c.deadline) {
		c.move(limit)
	}
	for {
		err := c.in.fill(c.Conn)
		if err == nil {
			c.heard = true
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.broken = true
			return err
		}
		if !time.Now().Before(limit) {
			c.broken = true
			return ErrTimeout
		}
		c.move(limit)
	}
}

func (c *conn) move(deadline time.Time) {
	c.deadline = deadline
	_ = c.SetReadDeadline(deadline) // only a closed connection refuses; the read says so
}

// mayRepeat tells whether a request that failed on a connection which had waited for it is sent again, by net/http's
// rules: the engine has said nothing, and it cannot have begun or the request changes nothing.
func (c *conn) mayRepeat(method string, err error) bool {
	return !c.heard && !errors.Is(err, ErrTimeout) && (c.sent == 0 || method == http.MethodGet)
}

// isClean tells after the end of an answer whether the connection can be used again.
func (c *conn) isClean() bool {
	if c.broken || c.in.unread() > 0 {
		return false
	}
	if c.aside != nil { // an answer may come a little before the sender knows that it has sent all
		select {
		case <-c.aside:
		case <-time.After(endTime):
			return false
		}
	}
	return c.sendErr == nil
}

// close is idempotent. What was read is no longer valid.
func (c *conn) close() {
	c.in.drop()
	_ = c.Close()
	if c.aside != nil {
		<-c.aside
	}
}
