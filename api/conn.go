package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/baton-llm/baton/internal/lend"
	"github.com/baton-llm/baton/internal/socket"
	"github.com/prometheus/client_golang/prometheus"
)

// conn is a client's connection that can hold what is written, so that it goes out in one go, and that can also send
// without waiting. What does not fit then is kept, and goes out before all that is written later. Its writes are one after
// the other, as net/http's and an eventWriter's are.
type conn struct {
	net.Conn

	open   prometheus.Gauge // counts it
	slots  <-chan struct{}  // one is given back at the end
	ahead  []byte           // was read already, and comes before all else
	closed sync.Once
	out    socket.Writer

	eager bool    // what was held is sent without waiting
	held  bool    // until release
	last  bool    // release leaves what is held to the end of the answer, which follows at once
	kept  *[]byte // lent: what was written and not sent at once; nil: nothing
	from  int     // where what is not sent yet begins in it
}

// Read gives what was read ahead first.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil // it may be part of something large
	}
	return n, nil
}

// rest is what was written and is not sent yet.
func (c *conn) rest() []byte {
	if c.kept == nil {
		return nil
	}
	return (*c.kept)[c.from:]
}

// Write waits until p is sent, unless it is held.
func (c *conn) Write(p []byte) (int, error) {
	if !c.held && c.kept == nil {
		return c.out.Write(p)
	}
	if c.kept == nil {
		c.kept = lend.Get()
	}
	*c.kept = append(*c.kept, p...)
	if c.held {
		return len(p), nil
	}
	return len(p), c.drain()
}

// hold keeps what is written from now on, until release.
func (c *conn) hold() { c.held = true }

// holdLast keeps it until the end of the answer is written.
func (c *conn) holdLast() { c.held, c.last = true, true }

// end has what is kept go out with the next write.
func (c *conn) end() { c.held, c.last = false, false }

// release sends what is kept: all of it, or, where the connection is eager, what fits.
func (c *conn) release() error {
	if c.last {
		return nil
	}
	c.held = false
	if c.kept == nil {
		return nil
	}
	if !c.eager {
		return c.drain()
	}
	n, err := c.out.Try(c.rest())
	c.forget(n)
	return err
}

// drain waits until what is kept is sent.
func (c *conn) drain() error {
	n, err := c.out.Write(c.rest())
	c.forget(n)
	return err
}

// forget drops the first n bytes of rest.
func (c *conn) forget(n int) {
	if c.from += n; c.from < len(*c.kept) {
		return
	}
	lend.Put(c.kept)
	c.kept, c.from = nil, 0
}

// CloseWrite lets net/http end a connection without cutting off what its client has not read.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close makes room for another connection.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.closed.Do(func() {
		c.open.Dec()
		<-c.slots
	})
	return err
}

// listener makes conns, of which only so many are open at a time.
type listener struct {
	net.Listener

	open  prometheus.Gauge
	slots chan struct{}
	done  chan struct{} // closed by Close
	once  sync.Once
}

func newListener(ln net.Listener, most int, open prometheus.Gauge) *listener {
	return &listener{Listener: ln, open: open, slots: make(chan struct{}, most), done: make(chan struct{})}
}

// Accept waits for a connection, and before that until there may be one more.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	nc, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.open.Inc()
	c := &conn{Conn: nc, open: l.open, slots: l.slots}
	c.out.Of(nc)
	return c, nil
}

// Close ends a wait in Accept, too.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type connKey struct{}

// withConn is for http.Server.ConnContext.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	if c, ok := nc.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx // TLS encrypts what is written: it cannot be sent in part, nor without net/http
}

// connOf is the connection of a request if it can hold an answer and be eager, else nil. net/http writes the end of a
// streamed answer only from HTTP/1.1 on, and with that what is still held.
func connOf(r *http.Request) *conn {
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return nil
	}
	if c, _ := r.Context().Value(connKey{}).(*conn); c != nil && c.out.CanTry() {
		return c
	}
	return nil
}
