package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing/synctest"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/router"
)

// manner is how a request is asked and whether its answer can be continued.
type manner string

const (
	streamed   manner = "streamed"
	unstreamed manner = "unstreamed"
	goingOn    manner = "going on"
	firstText         = "p" // the prompt of a request whose answer can go on
)

// patron is one client. It reads when the script says so.
type patron struct {
	id      string
	manner  manner
	leave   context.CancelFunc
	out     chan result
	res     *result // of Do; nil: not yet
	pieces  []string
	over    error // what the answer ended with; nil: not yet
	closed  bool
	reading chan read       // nil: no read is under way
	patient context.Context //nolint:containedctx // of its reads
	giveUp  context.CancelCauseFunc
}

// read is what Next returned.
type read struct {
	piece []byte
	err   error
}

var errNotYet = errors.New("nothing yet")

func (s *stage) do(req *router.Request, m manner) *patron {
	ctx, leave := context.WithCancel(context.Background())
	c := &patron{id: req.ID, manner: m, leave: leave, out: make(chan result, 1)}
	c.patient, c.giveUp = context.WithCancelCause(context.Background())
	go func() {
		a, err := s.r.Do(ctx, req)
		c.out <- result{a, err}
	}()
	return c
}

// read takes what is there of the answer, at most one piece; what is not there yet comes with a later read.
func (c *patron) read(t fatal) {
	select {
	case res := <-c.out:
		c.res = &res
		if (res.answer == nil) == (res.err == nil) {
			t.Fatalf("%s: Do = %v, %v", c.id, res.answer, res.err)
		}
		c.over = res.err
	default:
	}
	if c.res == nil || c.over != nil {
		return
	}
	if c.reading == nil {
		came := make(chan read, 1)
		c.reading = came
		go func() {
			p, err := c.res.answer.Next(c.patient)
			came <- read{p, err}
		}()
	}
	synctest.Wait()
	c.look(t)
}

// look takes what a read that is under way has brought.
func (c *patron) look(t fatal) {
	select {
	case got := <-c.reading:
		c.reading = nil
		switch {
		case got.err == nil:
			c.pieces = append(c.pieces, c.text(t, got.piece))
		case !errors.Is(got.err, errNotYet) || c.closed:
			c.over = got.err
		}
	default:
	}
}

// text is what a piece says.
func (c *patron) text(t fatal, piece []byte) string {
	if c.manner != goingOn {
		return string(piece)
	}
	var e struct{ Choices []struct{ Text string } }
	event, _ := sse.Cut(piece)
	if err := json.Unmarshal(event, &e); err != nil || len(e.Choices) != 1 {
		t.Fatalf("%s: the client gets %q", c.id, piece)
	}
	return e.Choices[0].Text
}

func (c *patron) close(t fatal) {
	if c.res == nil || c.res.answer == nil {
		return
	}
	c.giveUp(errNotYet)
	synctest.Wait() // nobody reads while the answer is closed
	c.look(t)
	c.res.answer.Close()
	c.closed = true
}
