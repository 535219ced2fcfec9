package api

import (
	"context"
	"net"
	"sync"
)

// exchanges are a server's. Its owner closes them before it waits for their end.
type exchanges struct {
	again *again // takes connections back

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

// again is a listener whose connections come from exchanges that are over.
type again struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{} // closed by Close
	once  sync.Once
}

func newAgain(addr net.Addr) *again {
	return &again{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// give tells whether somebody has taken the connection.
func (a *again) give(c net.Conn) bool {
	select {
	case a.conns <- c:
		return true
	case <-a.done:
		return false
	}
}

// Accept waits for a connection.
func (a *again) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and give.
func (a *again) Close() error {
	a.once.Do(func() { close(a.done) })
	return nil
}

// Addr is the address of the listener that the connections came from.
func (a *again) Addr() net.Addr { return a.addr }
