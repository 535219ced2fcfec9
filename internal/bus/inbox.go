package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// inbox is a subject of this process's own that one goroutine at a time awaits messages on: they come straight to it,
// and the subscription, which the server knows, serves one exchange after the other.
type inbox struct {
	subject string
	sub     *nats.Subscription
	came    chan *nats.Msg // nil: the connection was lost
	timer   *time.Timer    // stopped while nobody waits
	cut     hold
}

// mostIdle is how many inboxes of one kind are kept while nobody uses them.
const mostIdle = 64

// inboxes are those that are not in use.
type inboxes struct {
	room int // messages that come before they are looked at

	mu   sync.Mutex
	idle []*inbox
}

// take returns an inbox; it goes back to give or, when something may still come to it, to drop.
func (i *inboxes) take(nc *nats.Conn) (*inbox, error) {
	i.mu.Lock()
	if last := len(i.idle) - 1; last >= 0 {
		in := i.idle[last]
		i.idle = i.idle[:last]
		i.mu.Unlock()
		return in, nil
	}
	i.mu.Unlock()
	in := &inbox{subject: nc.NewInbox(), came: make(chan *nats.Msg, i.room), timer: time.NewTimer(time.Hour)}
	in.timer.Stop()
	in.cut.cut = func() {
		select {
		case in.came <- nil:
		default: // the goroutine has something else to look at
		}
	}
	var err error
	if in.sub, err = nc.ChanSubscribe(in.subject, in.came); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", in.subject, err)
	}
	return in, nil
}

func (i *inboxes) give(in *inbox) {
	i.mu.Lock()
	kept := len(i.idle) < mostIdle
	if kept {
		i.idle = append(i.idle, in)
	}
	i.mu.Unlock()
	if !kept {
		i.drop(in)
	}
}

func (i *inboxes) drop(in *inbox) { _ = in.sub.Unsubscribe() } // it fails where the connection is closed

// errCut is ask's word that the connection was lost while it waited: an answer does not come any more.
var errCut = errors.New("the connection to NATS was lost meanwhile")

// exchange sends a request and returns what comes back within Config.RequestTimeout. It sends it again where the
// connection was lost meanwhile: the request must bear that. Errors: nats.ErrNoResponders, ctx's.
func (b *Bus) exchange(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	deadline := time.Now().Add(b.cfg.RequestTimeout)
	for {
		reply, err := b.ask(ctx, msg, deadline)
		if !errors.Is(err, errCut) || !time.Now().Before(deadline) {
			return reply, err
		}
	}
}

// ask is one try of exchange.
func (b *Bus) ask(ctx context.Context, msg *nats.Msg, deadline time.Time) (reply *nats.Msg, err error) {
	in, err := b.answers.take(b.nc)
	if err != nil {
		return nil, err
	}
	msg.Reply = in.subject
	b.line.hold(&in.cut)
	if err = b.send(msg); err == nil {
		in.timer.Reset(time.Until(deadline))
		select {
		case reply = <-in.came:
		case <-in.timer.C:
			err = context.DeadlineExceeded
		case <-ctx.Done():
			err = ctx.Err()
		}
		in.timer.Stop()
	}
	if lost := b.line.release(&in.cut); lost || reply == nil {
		b.answers.drop(in)
	} else {
		b.answers.give(in)
	}
	switch {
	case err != nil:
		return nil, err
	case reply == nil:
		return nil, errCut
	case status(reply) == noResponders:
		return nil, nats.ErrNoResponders
	}
	return reply, nil
}

// noResponders is the server's status of a message that nobody listens for.
const noResponders = "503"

// status is what the server says instead of an answer; empty: this is one.
func status(m *nats.Msg) string {
	if len(m.Data) > 0 || len(m.Header) == 0 {
		return ""
	}
	return m.Header.Get("Status")
}
