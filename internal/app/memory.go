package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/baton-llm/baton/internal/pipenet"
)

// Dialer opens connections within a deployment in memory.
type Dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

const (
	memoryAddr = "frontend:8000"
	// MemoryURL is where the frontend of a deployment in memory is, for its Dialer.
	MemoryURL = "http://" + memoryAddr
)

// RunInMemory runs a whole deployment whose parts reach each other through memory alone, as one in
// virtual time must (testing/synctest), and calls use once it serves. When use returns, all of it
// is stopped. Connections that use opened must be closed by then.
func RunInMemory(ctx context.Context, cfg *Config, logs io.Writer, use func(ctx context.Context, dial Dialer) error) error {
	m, err := newInMemory(ctx, cfg, logs)
	if err != nil {
		return err
	}
	defer m.close()
	return m.serve(ctx, func(ctx context.Context) error { return use(ctx, m.network.dial) })
}

// inMemory is a deployment in memory.
type inMemory struct {
	*deployment

	ln net.Listener // of the frontend, at memoryAddr
}

func newInMemory(ctx context.Context, cfg *Config, logs io.Writer) (*inMemory, error) {
	mem := pipenet.New()
	d, err := newDeploymentOn(ctx, cfg, logs, network{
		listen: func(_, addr string) (net.Listener, error) { return mem.Listen(addr) }, dial: mem.Dial,
	})
	if err != nil {
		return nil, err
	}
	ln, err := mem.Listen(memoryAddr)
	if err != nil {
		d.close()
		return nil, fmt.Errorf("listen in memory: %w", err)
	}
	return &inMemory{deployment: d, ln: ln}, nil
}

// serve runs all parts, calls use once they serve, and stops them when it returns.
func (m *inMemory) serve(ctx context.Context, use func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.run(ctx, m.ln, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("the deployment ended before it served: %w", err)
	}
	err := use(ctx)
	cancel()
	return errors.Join(err, <-ended)
}
