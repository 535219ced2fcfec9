// Package pipenet is a network in memory, made of net.Pipe. Tests in testing/synctest bubbles use
// it, since a goroutine that waits on a real socket stops the bubble's clock.
package pipenet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// ErrRefused is what Dial returns, wrapped, where nobody listens.
var ErrRefused = errors.New("connection refused")

// firstPort is the first port given to a listener that asks for port 0.
const firstPort = 40000

// Net is a set of listeners that see each other and nothing else. It is safe for concurrent use
// and starts no goroutine.
type Net struct {
	mu        sync.Mutex
	listeners map[string]*listener
	port      int
}

// New returns a network without listeners.
func New() *Net {
	return &Net{listeners: map[string]*listener{}, port: firstPort}
}

// Listen takes host:port; port 0 gets a free one.
func (n *Net) Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for port == "0" {
		if free := strconv.Itoa(n.port); n.listeners[net.JoinHostPort(host, free)] == nil {
			port = free
		}
		n.port++
	}
	address = net.JoinHostPort(host, port)
	if n.listeners[address] != nil {
		return nil, fmt.Errorf("listen on %s: address already in use", address)
	}
	l := &listener{net: n, address: addr(address), conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

// Dial connects to the listener at address and waits until it accepts, the listener closes or ctx
// ends.
func (n *Net) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: %w", address, ErrRefused)
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: %w", address, ErrRefused)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", address, context.Cause(ctx))
	}
}

type listener struct {
	net     *Net
	address addr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, string(l.address))
		l.net.mu.Unlock()
		close(l.closed)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.address }

type addr string

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return string(a) }
