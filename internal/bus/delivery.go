package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrSettled is returned by the second of Done, Finish, Retry and Drop of one delivery.
var ErrSettled = errors.New("delivery is settled already")

// Delivery is one job in the hands of this process. From Fetch on, the bus keeps it alive at the
// server until Done, Finish, Retry, Drop, Forget or Forward; whoever holds it must call exactly one of them. A process that
// dies loses it to another after the queue's ack_wait. Methods are safe for concurrent use.
type Delivery[J any] struct {
	Job        J
	Deliveries int           // from 1; more means that an earlier holder died, or handed it back
	Last       bool          // a Retry now would drop the job: it was delivered max_deliver times
	Queued     time.Duration // publish to this delivery, by the clocks of server and this process
	More       bool          // Fetch has another that came with it

	ack       string // subject that the server takes acknowledgements on
	queue     *Queue[J]
	settled   atomic.Bool
	forwarded atomic.Bool // and settled
}

// Done removes the job from the queue and returns when the server has said so. After an error the
// job may be delivered again.
func (d *Delivery[J]) Done(ctx context.Context) error {
	if err := d.letGo("acknowledge"); err != nil {
		return err
	}
	if _, err := d.queue.bus.exchange(ctx, &nats.Msg{Subject: d.ack, Data: ackDone}); err != nil {
		return fmt.Errorf("acknowledge job of %s: %w", d.queue.name, err)
	}
	return nil
}

// Finish is Done for whoever knows the job again: it does not wait for the server, which hears of it within
// milliseconds, with what this process sends next. A job whose acknowledgement is lost with the connection is delivered again.
func (d *Delivery[J]) Finish() error {
	if err := d.letGo("acknowledge"); err != nil {
		return err
	}
	d.queue.bus.acks.add(d.ack)
	return nil
}

// Retry hands the job back; it is delivered again after delay.
func (d *Delivery[J]) Retry(_ context.Context, delay time.Duration) error {
	if err := d.letGo("hand back"); err != nil {
		return err
	}
	word := ackRetry
	if delay > 0 {
		word = fmt.Appendf(nil, `%s {"delay": %d}`, ackRetry, delay.Nanoseconds())
	}
	return d.say("hand back", word)
}

// Drop removes the job without its having been done.
func (d *Delivery[J]) Drop(context.Context) error {
	if err := d.letGo("drop"); err != nil {
		return err
	}
	return d.say("drop", ackDrop)
}

// say sends the server a word on this delivery.
func (d *Delivery[J]) say(what string, word []byte) error {
	if err := d.queue.bus.Publish(d.ack, word); err != nil {
		return fmt.Errorf("%s job of %s: %w", what, d.queue.name, err)
	}
	return nil
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
	return d.say("keep alive", ackProgress)
}

// letGo ends this process's care for the job.
func (d *Delivery[J]) letGo(what string) error {
	if !d.settled.CompareAndSwap(false, true) {
		return fmt.Errorf("%s job of %s: %w", what, d.queue.name, ErrSettled)
	}
	d.queue.forget(d)
	return nil
}
