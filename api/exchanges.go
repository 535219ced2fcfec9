package api

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// exchanges are a server's. Its owner closes them before it waits for their end.
type exchanges struct {
	serve func(net.Conn) bool // see giveBack

	mu      sync.Mutex
	open    map[*exchange]struct{} // those that have a connection
	running int                    // goroutines
	none    chan struct{}          // closed when no goroutine runs; nil: nobody waits
	closing bool                   // connections end with their answers
	stopped error                  // why requests are ended, nil: they are not
}

// add enters an exchange and counts the goroutine that is going to answer.
func (x *exchanges) add(e *exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open[e] = struct{}{}
	x.running++
	if x.stopped != nil {
		e.cancel(x.stopped)
	}
}

func (x *exchanges) remove(e *exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, e)
}

// enter counts a goroutine, and left counts it out.
func (x *exchanges) enter() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running++
}

func (x *exchanges) left() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running--
	if x.running == 0 && x.none != nil {
		close(x.none)
		x.none = nil
	}
}

func (x *exchanges) ending() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closing
}

// close ends connections without a request, and has all others end with their answers.
func (x *exchanges) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closing = true
	for e := range x.open {
		if e.over {
			_ = e.conn.Close() // watch goes on from there
		}
	}
}

// stop ends requests, which tell their clients why if they can.
func (x *exchanges) stop(why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = why
	for e := range x.open {
		e.cancel(why)
	}
}

// abort cuts all connections.
func (x *exchanges) abort() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for e := range x.open {
		_ = e.conn.Close()
	}
}

// wait waits until no goroutine runs.
func (x *exchanges) wait(ctx context.Context) error {
	x.mu.Lock()
	if x.running == 0 {
		x.mu.Unlock()
		return nil
	}
	if x.none == nil {
		x.none = make(chan struct{})
	}
	none := x.none
	x.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// giveBack returns how a connection is given back to srv, and tells whether that has taken it. net/http serves
// listeners only: this one has one connection.
func giveBack(srv *http.Server, addr net.Addr) func(net.Conn) bool {
	return func(c net.Conn) bool {
		l := &single{conn: c, addr: addr}
		_ = srv.Serve(l) // it ends after the one
		return l.conn == nil
	}
}

// single is a listener of one connection.
type single struct {
	conn net.Conn // nil: it is accepted
	addr net.Addr
}

// Accept returns the connection, and then an error.
func (s *single) Accept() (net.Conn, error) {
	c := s.conn
	if s.conn = nil; c == nil {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close leaves the connection open.
func (s *single) Close() error { return nil }

// Addr is the address of the listener that the connection came from.
func (s *single) Addr() net.Addr { return s.addr }
