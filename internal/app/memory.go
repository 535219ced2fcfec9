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

// MemoryURL is where the frontend of a deployment in memory is, for its Dialer.
const MemoryURL = "http://frontend:8000"

// RunInMemory runs a whole deployment whose parts reach each other through memory alone, as one in
// virtual time must (testing/synctest), and calls use once it serves. When use returns, all of it
// is stopped. Connections that use opened must be closed by then.
func RunInMemory(ctx context.Context, cfg *Config, logs io.Writer, use func(ctx context.Context, dial Dialer) error) error {
	mem := pipenet.New()
	d, err := newDeploymentOn(ctx, cfg, logs, network{
		listen: func(_, addr string) (net.Listener, error) { return mem.Listen(addr) }, dial: mem.Dial,
	})
	if err != nil {
		return err
	}
	defer d.close()
	ln, err := mem.Listen("frontend:8000")
	if err != nil {
		return fmt.Errorf("listen in memory: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- d.run(ctx, ln, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("the deployment ended before it served: %w", err)
	}
	err = use(ctx, mem.Dial)
	cancel()
	return errors.Join(err, <-ended)
}
