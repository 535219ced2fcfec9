package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrSettled is returned by the second of Done, Finish, Retry and Drop of one delivery.
var ErrSettled = errors.New("delivery is settled already")

// message is how the server is told of a delivery's end.
type message interface {
	Ack() error
	DoubleAck(ctx context.Context) error
	Nak() error
	NakWithDelay(delay time.Duration) error
	Term() error
	InProgress() error
}

// Delivery is one job in the hands of this process. From Fetch on, the bus keeps it alive at the
// server until Done, Finish, Retry, Drop, Forget or Forward; whoever holds it must call exactly one of them. A process that
// dies loses it to another after the queue's ack_wait. Methods are safe for concurrent use.
type Delivery[J any] struct {
	Job        J
	Deliveries int           // from 1; more means that an earlier holder died, or handed it back
	Last       bool          // a Retry now would drop the job: it was delivered max_deliver times
	Queued     time.Duration // publish to this delivery, by the clocks of server and this process

	ack       string // subject that the server takes acknowledgements on
	msg       message
	queue     *Queue[J]
	settled   atomic.Bool
	forwarded atomic.Bool // and settled
}

// Done removes the job from the queue and returns when the server has said so. After an error the
// job may be delivered again.
func (d *Delivery[J]) Done(ctx context.Context) error {
	return d.settle(ctx, "acknowledge", d.msg.DoubleAck)
}

// Finish is Done for whoever knows the job again: it does not wait for the server. A job whose
// acknowledgement is lost with the connection is delivered again.
func (d *Delivery[J]) Finish() error {
	if err := d.letGo("acknowledge"); err != nil {
		return err
	}
	if err := d.msg.Ack(); err != nil {
		return fmt.Errorf("acknowledge job of %s: %w", d.queue.name, err)
	}
	return nil
}

// Retry hands the job back; it is delivered again after delay.
func (d *Delivery[J]) Retry(ctx context.Context, delay time.Duration) error {
	return d.settle(ctx, "hand back", func(context.Context) error {
		if delay <= 0 {
			return d.msg.Nak()
		}
		return d.msg.NakWithDelay(delay)
	})
}

// Drop removes the job without its having been done.
func (d *Delivery[J]) Drop(ctx context.Context) error {
	return d.settle(ctx, "drop", func(context.Context) error { return d.msg.Term() })
}

// Forget lets go of a delivery that the server has given up already and delivered again: nothing is
// said of it any more.
func (d *Delivery[J]) Forget() {
	if d.settled.CompareAndSwap(false, true) {
		d.queue.forget(d)
	}
}

// KeepAlive restarts the job's ack_wait now; the bus does so by itself, so this is only for a
// holder that is about to be slow in a way the bus cannot see.
func (d *Delivery[J]) KeepAlive() error {
	if d.settled.Load() {
		return ErrSettled
	}
	return d.msg.InProgress()
}

func (d *Delivery[J]) settle(ctx context.Context, what string, send func(context.Context) error) error {
	if err := d.letGo(what); err != nil {
		return err
	}
	if err := d.queue.bus.request(ctx, send); err != nil {
		return fmt.Errorf("%s job of %s: %w", what, d.queue.name, err)
	}
	return nil
}

// letGo ends this process's care for the job.
func (d *Delivery[J]) letGo(what string) error {
	if !d.settled.CompareAndSwap(false, true) {
		return fmt.Errorf("%s job of %s: %w", what, d.queue.name, ErrSettled)
	}
	d.queue.forget(d)
	return nil
}
