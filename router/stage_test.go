package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
)

// stage is a router behind the real relay, with workers that send what the script says, within a bubble.
type stage struct {
	t       fatal
	r       *router.Router
	recv    *relay.Receiver
	queue   *queue
	fleet   *fakeFleet
	ends    *endings
	clients []*patron
	runs    []*feed
	tries   map[string]*try // by request and attempt
	end     func()

	mu      sync.Mutex
	stopped map[uint64]time.Time // runs whose workers were told to stop
}

// endings keeps the final states by request.
type endings struct {
	slog.Handler
	mu     sync.Mutex
	states map[string][]string
}

func (e *endings) Enabled(context.Context, slog.Level) bool { return true }

func (e *endings) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "request ended" {
		return nil
	}
	var id, state string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "request_id":
			id = a.Value.String()
		case "state":
			state = a.Value.String()
		}
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states[id] = append(e.states[id], state)
	return nil
}

func (e *endings) of(id string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.states[id]
}

// newStage admits the plan's requests, which are as many as its router lets in.
func newStage(t fatal, p plan) *stage {
	cfg := router.DefaultConfig()
	cfg.Backoff, cfg.MaxBackoff = time.Millisecond, time.Millisecond
	cfg.All.Requests = len(p.asked)
	s := &stage{
		t: t, queue: &queue{}, fleet: &fakeFleet{models: []string{"m"}}, ends: &endings{Handler: slog.DiscardHandler, states: map[string][]string{}},
		tries: map[string]*try{}, stopped: map[uint64]time.Time{},
	}
	s.recv = relay.NewReceiver("f1", s.control, relay.DefaultConfig(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	s.r = router.New(cfg, "f1", router.Deps{
		Queue: s.queue, Abandon: s.queue.Abandon, Bodies: &bucket{bodies: map[string][]byte{}}, Fleet: s.fleet, Receiver: s.recv,
		Registerer: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Log: slog.New(s.ends),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.r.Run(ctx) }()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	for i, a := range p.asked {
		req := request()
		if a.manner == goingOn {
			req = continuable()
			req.Body = []byte(`{"model":"m","prompt":"` + firstText + `","max_tokens":1000,"stream":true}`) // more than any play has
		}
		req.ID, req.Whole, req.Streaming, req.Deadline = fmt.Sprint("r", i), p.whole, a.manner != unstreamed, time.Now().Add(a.deadline)
		s.clients = append(s.clients, s.do(req, a.manner))
		synctest.Wait() // the order of the jobs is the clients'
	}
	return s
}

func (s *stage) play(steps []step) {
	for _, e := range steps {
		c := s.clients[e.client%len(s.clients)]
		if slices.Contains(rare, e.event) && e.pause < 200*unit {
			continue
		}
		switch e.event {
		case "serve", "ghost", "split", "fail", "frame":
			s.send(c, &e)
		case "replay": // a worker that heard of nothing
			if len(s.runs) > 0 {
				r := s.runs[e.run%len(s.runs)]
				s.batch(r, r.frames)
			}
		case "read":
			c.read(s.t)
		case "pause":
			time.Sleep(e.pause)
		case "gone":
			s.gone(e.gone)
		case "leave":
			c.leave()
		case "close":
			c.close(s.t)
		case "lose":
			if job := s.last(c); job != nil {
				s.queue.forget(job)
				s.try(job).lost++
				time.Sleep(lookedFor)
			}
		case "refuse":
			if job := s.last(c); job != nil {
				data, _ := json.Marshal([]wire.Refusal{late(job)})
				s.r.Refused(data)
			}
		case "queue down":
			s.queue.fails(errors.New("no responders"))
		case "queue full":
			s.queue.fails(bus.ErrFull)
		case "queue up":
			s.queue.fails(nil)
		case "stop":
			s.end()
		}
		time.Sleep(2 * time.Millisecond) // longer than a backoff
		synctest.Wait()
		for _, c := range s.clients {
			if job := s.last(c); job != nil {
				s.try(job)
			}
		}
	}
}

// control takes what the frontend tells workers, and keeps whom it has stopped.
func (s *stage) control(_ string, batch []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.ReadControls(batch, func(_ string, c wire.Control) {
		if _, told := s.stopped[c.Run]; c.Kind == wire.Cancel && !told {
			s.stopped[c.Run] = time.Now()
		}
	})
}

func (q *queue) fails(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = nil
	if err != nil {
		q.refuse = func(*wire.PrefillJob) error { return err }
	}
}
