package main

import (
	"errors"
	"fmt"

	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/wire"
)

// queueCommand is `baton queue` and what stands below it.
type queueCommand struct {
	Show  queueShow  `cmd:"" default:"withargs" help:"Show how much waits, how old it is, and the limits."`
	Peek  queuePeek  `cmd:"" help:"List the requests that wait, the oldest first; never their prompts."`
	Purge queuePurge `cmd:"" help:"End requests that wait; their clients get a 503 and may try again."`
}

type queueShow struct {
	jsonFlag
}

// Run shows both queues. What is known is shown also if some frontends say nothing.
func (q *queueShow) Run(s *session) error {
	return s.atDesk(func(d *operator.Desk) error {
		queues, silent := d.Queues(s.ctx)
		if queues == nil {
			return silent
		}
		if q.JSON {
			return errors.Join(s.asJSON(queues), silent)
		}
		return errors.Join(operator.PrintQueues(s.out, queues), silent)
	})
}

type queuePeek struct {
	jsonFlag

	Queue string `arg:"" optional:"" enum:"prefill,decode" default:"prefill" help:"prefill or decode."`
	Most  int    `short:"n" default:"20" placeholder:"N" help:"Most requests, at most 1000."`
}

// Run lists what waits.
func (q *queuePeek) Run(s *session) error {
	return s.atDesk(func(d *operator.Desk) error {
		answer, silent := d.Waiting(s.ctx, wire.QueueAsk{Line: wire.Line(q.Queue), Most: min(q.Most, wire.MostWaiting)})
		if q.JSON {
			return errors.Join(s.asJSON(answer), silent)
		}
		err := operator.PrintWaiting(s.out, answer.Requests)
		if more := answer.Total - len(answer.Requests); err == nil && more > 0 {
			fmt.Fprintf(s.out, "and %d more\n", more)
		}
		return errors.Join(err, silent)
	})
}

type queuePurge struct {
	Queue string `arg:"" optional:"" enum:"prefill,decode" default:"prefill" help:"prefill or decode."`
	Class string `xor:"which" required:"" placeholder:"CLASS" help:"Only requests of this class: interactive, standard or batch."`
	All   bool   `xor:"which" required:"" help:"Requests of every class."`
	Yes   bool   `help:"Do it. Without this, the command says how many requests it would end."`
}

var errNotPurged = errors.New("nothing was ended; add --yes to do it")

// Run has the frontends end what waits.
func (q *queuePurge) Run(s *session) error {
	ask := wire.QueueAsk{Line: wire.Line(q.Queue), Purge: q.Yes}
	if !q.All {
		class, err := wire.ParseClass(q.Class)
		if err != nil {
			return err
		}
		ask.Class = &class
	}
	return s.atDesk(func(d *operator.Desk) error {
		answer, silent := d.Waiting(s.ctx, ask)
		if !q.Yes {
			fmt.Fprintf(s.out, "%d requests wait in the %s queue and would be ended\n", answer.Total, q.Queue)
			return errors.Join(errNotPurged, silent)
		}
		fmt.Fprintf(s.out, "%d requests ended; their clients got 503 queue_purged\n", answer.Purged)
		return silent
	})
}
