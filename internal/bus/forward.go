package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/baton-llm/baton/internal/wire"
)

// errNotForwarded is returned by Reclaim of a delivery that this process still holds.
var errNotForwarded = errors.New("delivery was not forwarded")

// Forward hands the delivery over to whoever receives on subject, with job in place of its own, which is the receiver's
// from then on. The delivery is the receiver's to keep alive and to settle; one that is not received comes again
// after ack_wait, or when Reclaim is called. After an error this process still holds the delivery.
func (d *Delivery[J]) Forward(subject string, job *J) error {
	if here, ok := d.queue.here.Load(subject); ok {
		if !d.settled.CompareAndSwap(false, true) {
			return fmt.Errorf("forward job of %s: %w", d.queue.name, ErrSettled)
		}
		d.forwarded.Store(true)
		d.queue.forget(d)
		here.(func(ack string, job *J))(d.ack, job)
		return nil
	}
	m, err := d.queue.encode(job)
	if err != nil {
		return err
	}
	if !d.settled.CompareAndSwap(false, true) {
		return fmt.Errorf("forward job of %s: %w", d.queue.name, ErrSettled)
	}
	msg := &nats.Msg{Subject: subject, Header: nats.Header(m.Header), Data: m.Data}
	msg.Header.Set(wire.AckHeader, d.ack)
	if err := d.queue.bus.send(msg); err != nil {
		d.settled.Store(false)
		return fmt.Errorf("forward job of %s to %s: %w", d.queue.name, subject, tooLarge(err))
	}
	d.forwarded.Store(true)
	d.queue.forget(d)
	return nil
}

// Reclaim has a forwarded job delivered again at once: its receiver is known to be dead. A job that
// the receiver has settled meanwhile stays settled.
func (d *Delivery[J]) Reclaim() error {
	if !d.forwarded.Load() {
		return fmt.Errorf("reclaim job of %s: %w", d.queue.name, errNotForwarded)
	}
	return d.say("reclaim", ackRetry)
}

// Receive calls handle for each delivery that is forwarded to subject: one after the other for those of other processes,
// and within Forward for those of this one, so it must not block. Nobody else may receive on subject. Deliveries are
// kept alive like fetched ones. stop does not wait for a call of handle that is under way.
func (q *Queue[J]) Receive(subject string, handle func(*Delivery[J])) (stop func(), err error) {
	unreadable := func(err error) {
		q.metrics.undecodable.Inc()
		q.log.Error("forwarded message is no job", slog.String("subject", subject), slog.Any("error", err))
	}
	take := func(ack string, job *J) {
		from, err := originOf(ack)
		if err != nil {
			unreadable(err)
			return
		}
		handle(q.inHand(*job, from, ack))
	}
	unsubscribe, err := q.bus.subscribe(subject, func(m *nats.Msg) {
		job, err := q.decode(wire.Message{Header: m.Header, Data: m.Data})
		if err != nil {
			unreadable(err)
			return
		}
		take(m.Header.Get(wire.AckHeader), &job)
	})
	if err != nil {
		return nil, err
	}
	q.here.Store(subject, take)
	return func() {
		q.here.Delete(subject)
		unsubscribe()
	}, nil
}

// Hold keeps this process the one that gets the jobs of key, without fetching any: a request for at
// most one byte of jobs is refused by the server, but counts as a sign of life.
func (q *Queue[J]) Hold(ctx context.Context, key string) error {
	c, err := q.consumer(ctx, key)
	if err != nil {
		return err
	}
	none := func(m *nats.Msg, _ bool) bool { // no job is that small
		q.handBack(m)
		return false
	}
	err = q.pull(ctx, c, pullRequest{Batch: 1, MaxBytes: 1, Expires: pinTTL / 4}, none, q.handBack)
	if err != nil && !errors.Is(err, jetstream.ErrPinIDMismatch) { // another is pinned: it is its place
		q.forgetConsumer(key)
		return fmt.Errorf("hold the %s jobs of %s: %w", q.name, key, err)
	}
	return nil
}
