package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/baton-llm/baton/internal/peers/load"
	"github.com/baton-llm/baton/internal/peers/stub"
)

// router is what stands between client and engines while it runs; direct is the one with no process.
type router struct {
	name      string
	split     bool // both engines have a part in each request
	version   string
	how       string   // its command line, for readers
	addr      string   // of its endpoint
	others    []string // further endpoints
	models    []string // that it serves besides stub.Model
	admin     string   // where its profiles can be had; empty: nowhere
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
	prefill, decode string // host:port of the engines of stub.Model
	pairs           []pair // of engines, these two first
}

// pair is the two engines of one model.
type pair struct {
	model           string
	prefill, decode string // host:port
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

// answers waits until a short request for each model has its whole answer at each endpoint.
func (r *router) answers(ctx context.Context) error {
	c := cell{Tokens: 2, Prompt: 100}
	plan := c.plan(r, time.Minute)
	plan.Conns, plan.PerConn, plan.Timeout = len(plan.Addrs), len(plan.Bodies), 5*time.Second
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

// engines starts stub engines, a pair for each of so many models, in two processes that are not counted.
func engines(ctx context.Context, self, dir string, models int) (s *site, both *router, err error) {
	s, both = &site{dir: dir, pairs: make([]pair, models)}, &router{name: "engines"}
	prefill, decode := []string{self, "stub", "--prefill"}, []string{self, "stub"}
	for i := range s.pairs {
		p := &s.pairs[i]
		p.model = stub.Model
		if i > 0 {
			p.model = fmt.Sprintf("%s-%d", stub.Model, i)
		}
		if p.prefill, err = freeAddr(); err != nil {
			return nil, both, err
		}
		if p.decode, err = freeAddr(); err != nil {
			return nil, both, err
		}
		prefill = append(prefill, "--listen", p.prefill, "--model", p.model)
		decode = append(decode, "--listen", p.decode, "--model", p.model)
	}
	last := s.pairs[models-1]
	s.prefill, s.decode = s.pairs[0].prefill, s.pairs[0].decode
	for _, e := range []struct {
		name, addr string
		command    []string
	}{{"engine-prefill", last.prefill, prefill}, {"engine-decode", last.decode, decode}} {
		p, err := both.start(s, e.name, nil, e.command...)
		if err != nil {
			return nil, both, err
		}
		if err := p.listens(ctx, e.addr); err != nil {
			return nil, both, fmt.Errorf("stub engine: %w", err)
		}
	}
	return s, both, nil
}
