package router_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
)

// air carries batches between a frontend and a worker and loses some.
type air struct {
	mu   sync.Mutex
	rng  *rand.Rand
	loss float64
	to   map[string]func(batch []byte)
}

func (a *air) publish(subject string, batch []byte) error {
	a.mu.Lock()
	to, lost := a.to[subject], a.rng.Float64() < a.loss
	a.mu.Unlock()
	if to != nil && !lost {
		to(bytes.Clone(batch))
	}
	return nil
}

// Many clients, one worker and a lossy network between them: all read whole answers, and a client
// that leaves stops its run.
func TestAnswersOverTheRealRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		log := slog.New(slog.DiscardHandler)
		net := &air{rng: rand.New(rand.NewPCG(1, 2)), loss: 0.2, to: map[string]func([]byte){}}
		recv := relay.NewReceiver("f1", net.publish, relay.DefaultConfig(), prometheus.NewRegistry(), log)
		send := relay.NewSender("d1", net.publish, relay.DefaultConfig(), prometheus.NewRegistry(), log)
		net.to[wire.FramesSubject("f1")] = recv.Batch
		net.to[wire.ControlSubject("d1")] = func(batch []byte) {
			if err := wire.ReadControls(batch, send.Control); err != nil {
				t.Error(err)
			}
		}
		jobs := &queue{}
		r := router.New(router.DefaultConfig(), "f1", router.Deps{
			Queue: jobs, Abandon: jobs.Abandon, Bodies: &bucket{}, Fleet: &fakeFleet{models: []string{"m"}}, Receiver: recv,
			Registerer: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Log: log,
		})
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		running.Go(func() { _ = send.Run(ctx) })

		const clients, events = 8, 300
		payload := bytes.Repeat([]byte("x"), 2<<10) // an answer is larger than the window
		var stopped, whole sync.WaitGroup
		serve := func(job wire.PrefillJob) {
			run := send.Open(ctx, &job.Request)
			err := run.Send(ctx, wire.Decoding, (&wire.Assignment{Place: wire.PlaceWhole}).Append(nil))
			for i := 0; err == nil && (i < events || job.ID == "leaver"); i++ {
				err = run.Send(ctx, wire.Data, fmt.Appendf(nil, "%s %d %s", job.ID, i, payload))
			}
			if err == nil {
				err = run.Send(ctx, wire.End, (&wire.EndInfo{CompletionTokens: events}).Append(nil))
			}
			if (err != nil) != (job.ID == "leaver") {
				t.Errorf("run of %s ended with %v", job.ID, err)
			}
		}
		do := func(id string) *router.Answer {
			req := request()
			req.ID, req.Whole = id, true
			a, err := r.Do(ctx, req)
			if err != nil {
				t.Errorf("Do of %s = %v", id, err)
			}
			return a
		}
		for i := range clients {
			whole.Go(func() {
				a := do(fmt.Sprint("r", i))
				if a == nil {
					return
				}
				defer a.Close()
				got, err := rest(a)
				if err != nil || len(got) != events {
					t.Errorf("client %d read %d events, %v; want %d", i, len(got), err, events)
				}
				for n, p := range got {
					if want := fmt.Sprintf("r%d %d %s", i, n, payload); p != want {
						t.Errorf("client %d: event %d is %.20q", i, n, p)
					}
				}
				if n := a.Usage().CompletionTokens; n != events {
					t.Errorf("client %d: %d completion tokens", i, n)
				}
			})
		}
		whole.Go(func() {
			if a := do("leaver"); a != nil {
				time.Sleep(time.Minute) // reads nothing, which must not hold up the others
				a.Close()
			}
		})
		synctest.Wait()
		for _, job := range jobs.all() {
			stopped.Go(func() { serve(job) })
		}
		whole.Wait()
		stopped.Wait()
		if n := len(r.Requests()); n != 0 {
			t.Errorf("%d requests are still in flight", n)
		}
		cancel()
		running.Wait()
	})
}
