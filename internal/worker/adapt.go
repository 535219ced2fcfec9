package worker

import (
	"context"
	"iter"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
)

// FromBus makes Jobs of a queue of the bus.
func FromBus[J any](q *bus.Queue[J]) Jobs[J] { return queue[J]{q} }

// Deliver makes a Delivery of the bus's.
func Deliver[J any](d *bus.Delivery[J]) *Delivery[J] {
	return &Delivery[J]{Job: d.Job, Deliveries: d.Deliveries, Last: d.Last, Queued: d.Queued, Ack: d}
}

type queue[J any] struct{ q *bus.Queue[J] }

func (q queue[J]) Fetch(ctx context.Context, model string, n int, wait time.Duration) iter.Seq2[*Delivery[J], error] {
	return func(yield func(*Delivery[J], error) bool) {
		for d, err := range q.q.Fetch(ctx, model, n, wait) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !yield(Deliver(d), nil) {
				return
			}
		}
	}
}

// FromSender makes Frames of the relay's sending half.
func FromSender(s *relay.Sender) Frames { return sender{s} }

type sender struct{ s *relay.Sender }

func (s sender) Open(ctx context.Context, r *wire.Request) Run { return s.s.Open(ctx, r) }
