// Package stub is an engine that costs next to nothing, so that what is measured in front of it is the
// router. It speaks as much of vLLM's HTTP protocol as routers need: streamed and whole answers of
// /v1/chat/completions and /v1/completions, the NIXL connector's handles (kv_transfer_params), and what they ask
// before they send anything. It is no model of an engine's time: see internal/enginesim for that.
package stub

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Model is the name of the model that a stub serves unless it is told another.
const Model = "stub"

// Engine is one stub. Serve makes it work.
type Engine struct {
	// Prefill makes it the prefill engine of a pair: an answer to a request of SGLang's kind, which both engines get,
	// then has one token.
	Prefill bool
	// Host and Port of this engine are what its handles say.
	Host string
	Port int
	// Model is the name of the model; empty: Model.
	Model string

	mu    sync.Mutex
	steps map[time.Duration]*stepper
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
}

// Serve answers on ln, which it closes, until ctx ends.
func (e *Engine) Serve(ctx context.Context, ln net.Listener) error {
	e.Model = cmp.Or(e.Model, Model)
	e.steps, e.conns = map[time.Duration]*stepper{}, map[net.Conn]struct{}{}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() {
		_ = ln.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		for c := range e.conns {
			_ = c.Close()
		}
	})
	defer e.work.Wait()
	defer stop()
	defer cancel()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		e.mu.Lock()
		e.conns[conn] = struct{}{}
		e.mu.Unlock()
		if ctx.Err() != nil {
			_ = conn.Close()
		}
		e.work.Go(func() { e.converse(ctx, conn) })
	}
}

// converse answers the requests of one connection, one after the other.
func (e *Engine) converse(ctx context.Context, conn net.Conn) {
	defer func() {
		e.mu.Lock()
		delete(e.conns, conn)
		e.mu.Unlock()
		_ = conn.Close()
	}()
	in := bufio.NewReaderSize(conn, 8<<10)
	var r request
	for {
		if err := r.read(in); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				_, _ = conn.Write(plain("400 Bad Request", "text/plain", []byte(err.Error())))
			}
			return
		}
		if err := e.answer(ctx, conn, &r); err != nil {
			return
		}
	}
}

// stepper is the one clock of all streams of one pace, as an engine's iterations are: every stream gets its
// next token in the same moment.
type stepper struct {
	engine *Engine
	pace   time.Duration

	mu      sync.Mutex
	streams []*stream
}

// join has s written by the stepper until it is done; it starts the stepper of pace if there is none.
func (e *Engine) join(ctx context.Context, pace time.Duration, s *stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.steps[pace]
	if st == nil {
		st = &stepper{engine: e, pace: pace}
		e.steps[pace] = st
		e.work.Go(func() { st.run(ctx) })
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.streams = append(st.streams, s)
}

// run writes one token of each stream per step until ctx ends.
func (st *stepper) run(ctx context.Context) {
	tick := time.NewTicker(st.pace)
	defer tick.Stop()
	defer st.end()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		st.mu.Lock()
		kept := st.streams[:0]
		for _, s := range st.streams {
			if s.step() {
				kept = append(kept, s)
			} else {
				close(s.done)
			}
		}
		clear(st.streams[len(kept):])
		st.streams = kept
		st.mu.Unlock()
	}
}

// end lets go of who still waits.
func (st *stepper) end() {
	st.engine.mu.Lock()
	delete(st.engine.steps, st.pace)
	st.engine.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, s := range st.streams {
		close(s.done)
	}
	st.streams = nil
}
