package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/baton-llm/baton/internal/peers/stub"
	"golang.org/x/sync/errgroup"
)

// stubCommand is one process of stub engines.
type stubCommand struct {
	Listen  []string `required:"" help:"Address to serve on, an engine at each." placeholder:"ADDR"`
	Model   []string `help:"Name of each engine's model." placeholder:"NAME"`
	Prefill bool     `help:"They are the prefill engines of pairs."`
}

// Run serves until ctx ends.
func (c *stubCommand) Run(ctx context.Context) error {
	if n := len(c.Model); n > 0 && n != len(c.Listen) {
		return fmt.Errorf("%d names of models for %d engines", n, len(c.Listen))
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, listen := range c.Listen {
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		addr := ln.Addr().(*net.TCPAddr)
		e := &stub.Engine{Prefill: c.Prefill, Host: addr.IP.String(), Port: addr.Port}
		if len(c.Model) > 0 {
			e.Model = c.Model[i]
		}
		g.Go(func() error { return e.Serve(ctx, ln) })
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
