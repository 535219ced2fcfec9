package main

import (
	"context"
	"errors"
	"net"

	"github.com/baton-llm/baton/internal/peers/stub"
)

// stubCommand is one stub engine, a process of its own.
type stubCommand struct {
	Listen  string `required:"" help:"Address to serve on." placeholder:"ADDR"`
	Prefill bool   `help:"It is the prefill engine of a pair."`
}

// Run serves until ctx ends.
func (c *stubCommand) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	addr := ln.Addr().(*net.TCPAddr)
	e := &stub.Engine{Prefill: c.Prefill, Host: addr.IP.String(), Port: addr.Port}
	if err := e.Serve(ctx, ln); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
