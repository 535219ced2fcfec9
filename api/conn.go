package api

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// conn is a client's connection that can also be written to without waiting. What does not fit then is kept, and goes
// out before all that is written later. Its writes are one after the other, as net/http's and an eventWriter's are.
type conn struct {
	net.Conn

	open    prometheus.Gauge // counts it
	slots   <-chan struct{}  // one is given back at the end
	ahead   []byte           // was read already, and comes before all else
	closed  sync.Once
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // try, made once
	eager   bool                  // writes do not wait
	rest    []byte                // what was written and is not sent yet

	// Of the try under way:
	data []byte
	sent int
	err  error
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

// Write waits until p is sent, unless the connection is eager.
func (c *conn) Write(p []byte) (int, error) {
	if c.eager {
		return c.offer(p)
	}
	if err := c.drain(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// drain waits until what was kept is sent.
func (c *conn) drain() error {
	if len(c.rest) == 0 {
		return nil
	}
	n, err := c.Conn.Write(c.rest)
	c.rest = c.rest[n:]
	if len(c.rest) == 0 {
		c.rest = nil
	}
	return err
}

// offer sends what fits, and keeps the rest.
func (c *conn) offer(p []byte) (int, error) {
	sent := 0
	if len(c.rest) == 0 {
		c.data, c.sent, c.err = p, 0, nil
		err := c.raw.Write(c.attempt)
		c.data = nil
		if err = errors.Join(err, c.err); err != nil {
			return 0, err
		}
		sent = c.sent
	}
	if sent < len(p) {
		c.rest = append(c.rest, p[sent:]...)
	}
	return len(p), nil
}

// try is called with the file descriptor, which does not block. It never asks to be called again.
func (c *conn) try(fd uintptr) bool {
	c.sent, c.err = writeAtOnce(fd, c.data)
	return true
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
	if file, ok := nc.(syscall.Conn); ok && writesAtOnce {
		if c.raw, err = file.SyscallConn(); err != nil {
			c.raw = nil // it is closed already, as its reader will find
		}
	}
	c.attempt = c.try
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

// connOf is the connection of an HTTP/1 request if it can be eager, else nil.
func connOf(ctx context.Context, major int) *conn {
	if major != 1 {
		return nil
	}
	if c, _ := ctx.Value(connKey{}).(*conn); c != nil && c.raw != nil {
		return c
	}
	return nil
}
