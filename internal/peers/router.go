package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/baton-llm/baton/internal/peers/load"
)

// router is what stands between client and engines while it runs; direct is the one with no process.
type router struct {
	name      string
	split     bool // both engines have a part in each request
	version   string
	how       string // its command line, for readers
	addr      string // of its endpoint
	admin     string // where its profiles can be had; empty: nowhere
	processes []*process
}

func (r *router) stop() {
	for i := range r.processes {
		r.processes[len(r.processes)-1-i].stop() // what others need outlives them
	}
}

// site is what all routers find here.
type site struct {
	dir             string // for their files
	prefill, decode string // host:port of the engines
}

const readyTime = time.Minute

// start adds a program to the router.
func (r *router) start(s *site, name string, env []string, command ...string) (*process, error) {
	p, err := launch(s.dir, name, env, command...)
	if err != nil {
		return nil, err
	}
	r.processes = append(r.processes, p)
	return p, nil
}

// answers waits until a short request has its whole answer.
func (r *router) answers(ctx context.Context) error {
	c := cell{Conns: 1, Tokens: 2, Prompt: 100}
	plan := c.plan(r.addr, time.Minute)
	plan.PerConn, plan.Timeout = 1, 5*time.Second
	return r.processes[len(r.processes)-1].until(ctx, readyTime, func() error {
		result, err := load.Run(ctx, plan)
		if err == nil {
			err = result.Err
		}
		return err
	})
}

// listens waits until somebody listens at addr.
func (p *process) listens(ctx context.Context, addr string) error {
	return p.until(ctx, readyTime, func() error {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// engines starts the pair of stub engines that everyone has behind; its processes are not counted.
func engines(ctx context.Context, self, dir string) (s *site, both *router, err error) {
	s, both = &site{dir: dir}, &router{name: "engines"}
	for _, e := range []struct {
		name  string
		addr  *string
		flags []string
	}{{"engine-prefill", &s.prefill, []string{"--prefill"}}, {"engine-decode", &s.decode, nil}} {
		if *e.addr, err = freeAddr(); err != nil {
			return nil, both, err
		}
		p, err := both.start(s, e.name, nil, append([]string{self, "stub", "--listen", *e.addr}, e.flags...)...)
		if err != nil {
			return nil, both, err
		}
		if err := p.listens(ctx, *e.addr); err != nil {
			return nil, both, fmt.Errorf("stub engine: %w", err)
		}
	}
	return s, both, nil
}
