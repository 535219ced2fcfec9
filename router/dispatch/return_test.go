package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/baton-llm/baton/internal/bus"
	isfleet "github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// asSeen is what the router of a frontend knows of the others.
type asSeen struct{ *fleet }

func (asSeen) Model(string) (isfleet.Status, bool) { return isfleet.Status{}, true }
func (asSeen) Missing() []string                   { return nil }
func (asSeen) Alive(string) bool                   { return true }

// deaf is a receiver that no frame reaches.
type deaf struct{}

func (deaf) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (deaf) Open(uint64, relay.Sink)       {}
func (deaf) Close(uint64)                  {}
func (deaf) Consumed(relay.RunID, uint32)  {}
func (deaf) Cancel(relay.RunID)            {}

// A frontend that was cut off for so long that its jobs were dropped still has its clients. When it is back it
// queues them again.
func TestJobsOfAFrontendThatComesBackAreQueuedAgain(t *testing.T) {
	inBubble(t, func(s *site) {
		other := s.frontend("f2", aggregated()) // and no worker yet
		b := s.bus(client)
		route := router.New(router.DefaultConfig(), client, router.Deps{
			Queue: b.Prefill(), Bodies: b, Fleet: asSeen{&fleet{workers: map[string]wire.Announcement{}}}, Receiver: deaf{},
			Abandon: func(model string, keys []string) error {
				data, err := json.Marshal(keys)
				return errors.Join(err, b.Publish(wire.AbandonSubject(model), data))
			},
			Registerer: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Log: quiet,
		})
		ctx, cancel := context.WithCancel(s.Context())
		ran, done := make(chan error, 1), make(chan error, 1)
		go func() { ran <- route.Run(ctx) }()
		go func() {
			_, err := route.Do(ctx, &router.Request{ID: "r1", Path: "/v1/completions", Model: model, Body: []byte("{}")})
			done <- err
		}()
		s.stops = append(s.stops, func() {
			cancel()
			<-done
			if err := <-ran; err != nil {
				t.Errorf("Run = %v", err)
			}
		})
		time.Sleep(time.Second)
		other.fleet.lose(client)
		dropped := func() bool {
			depth, err := b.Prefill().Stats(s.Context())
			if err != nil {
				t.Fatal(err)
			}
			return depth.Messages == 0
		}
		for begun := time.Now(); !dropped(); time.Sleep(time.Second) {
			if time.Since(begun) > time.Minute {
				t.Fatal("the jobs of a frontend that nobody hears of are not dropped")
			}
		}
		other.fleet.set(client)
		time.Sleep(10 * time.Second)
		attempts := make(chan uint32, 8)
		s.worker("w1", func(_ *worker, d *bus.Delivery[wire.PrefillJob]) {
			if err := d.Done(context.Background()); err != nil {
				t.Error(err)
			}
			attempts <- d.Job.Attempt
		})
		other.fleet.set("w1")
		select {
		case n := <-attempts:
			if n < 2 {
				t.Errorf("attempt %d was assigned, want a later one than was dropped", n)
			}
		case <-time.After(time.Minute):
			t.Error("the request of a frontend that is back was not queued again")
		}
	})
}
