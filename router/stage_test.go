package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
	end     func()
}

// patron is one client. It reads when the script says so.
type patron struct {
	id     string
	leave  context.CancelFunc
	out    chan result
	res    *result // of Do; nil: not yet
	pieces []string
	over   error // what the answer ended with; nil: not yet
	closed bool
}

// feed is one run of a worker. It never hears that it was cancelled.
type feed struct {
	key    string
	id     relay.RunID
	job    wire.Request
	frames []wire.Frame // sent or held back
	pieces int
	held   []wire.Frame
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
	cfg.All.Requests = len(p.deadlines)
	s := &stage{t: t, queue: &queue{}, fleet: &fakeFleet{models: []string{"m"}}, ends: &endings{Handler: slog.DiscardHandler, states: map[string][]string{}}}
	toNobody := func(string, []byte) error { return nil }
	s.recv = relay.NewReceiver("f1", toNobody, relay.DefaultConfig(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
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
	for i, deadline := range p.deadlines {
		req := request()
		req.ID, req.Whole, req.Deadline = fmt.Sprint("r", i), p.whole, time.Now().Add(deadline)
		s.clients = append(s.clients, s.do(req))
		synctest.Wait() // the order of the jobs is the clients'
	}
	return s
}

func (s *stage) do(req *router.Request) *patron {
	ctx, leave := context.WithCancel(context.Background())
	c := &patron{id: req.ID, leave: leave, out: make(chan result, 1)}
	go func() {
		a, err := s.r.Do(ctx, req)
		c.out <- result{a, err}
	}()
	return c
}

func (s *stage) play(steps []step) {
	for _, e := range steps {
		c := s.clients[e.client%len(s.clients)]
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
			s.fleet.onGone(e.gone)
		case "leave":
			c.leave()
		case "close":
			c.close()
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
			if e.pause > 250*unit { // not in every play
				s.end()
			}
		}
		time.Sleep(2 * time.Millisecond) // longer than a backoff
		synctest.Wait()
	}
}

func (q *queue) fails(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = nil
	if err != nil {
		q.refuse = func(*wire.PrefillJob) error { return err }
	}
}

// of returns the jobs of a client's request, the latest last.
func (s *stage) of(c *patron) (jobs []wire.Request) {
	for _, j := range s.queue.all() {
		if j.ID == c.id {
			jobs = append(jobs, j.Request)
		}
	}
	return jobs
}

func (s *stage) last(c *patron) *wire.Request {
	jobs := s.of(c)
	if len(jobs) == 0 {
		return nil
	}
	return &jobs[len(jobs)-1]
}

// The way it should go, when one worker does all, and when two do.
var (
	wholeWay   = []wire.Kind{wire.Decoding, wire.Data, wire.Data, wire.End}
	prefillWay = []wire.Kind{wire.Prefilling, wire.Handed}
)

// send has a worker send the next frame of a run of one of the client's jobs.
func (s *stage) send(c *patron, e *step) {
	jobs := s.of(c)
	if len(jobs) == 0 {
		return
	}
	job, worker, kind, place := jobs[len(jobs)-1], "w", e.kind, wholly
	switch e.event {
	case "frame":
		job, worker, place = jobs[e.job%len(jobs)], fmt.Sprint(e.worker, e.run%2), e.place
	case "serve":
		kind = s.next(&job, worker, wholeWay)
	case "ghost": // of a worker that was thought dead and has its job still
		job, worker = jobs[max(0, len(jobs)-2)], "g"
		kind = s.next(&job, worker, wholeWay)
	case "split":
		place = splitly
		if s.sent(&job, "p") < len(prefillWay) {
			worker, kind = "p", s.next(&job, "p", prefillWay)
		} else {
			kind = s.next(&job, worker, wholeWay)
		}
	case "fail":
		kind = wire.Fail
	}
	r := s.run(&job, worker)
	f := wire.Frame{Run: r.id.Run, Stream: job.Stream, Attempt: job.Attempt, Seq: uint32(len(r.frames)), Kind: kind}
	switch kind {
	case wire.Prefilling, wire.Decoding:
		f.Payload = []byte(place)
	case wire.Handed:
		f.Payload = []byte(`{"decode_worker":"w","lease_ns":10000000000}`)
	case wire.Data:
		f.Payload = fmt.Appendf(nil, "%s/%s/%d", c.id, r.key, r.pieces)
		r.pieces++
	case wire.Fail:
		f.Payload, _ = json.Marshal(wire.Failure{Reason: e.reason})
	case wire.End:
	}
	r.frames = append(r.frames, f)
	if e.late {
		r.held = append(r.held, f)
		return
	}
	s.batch(r, append([]wire.Frame{f}, r.held...))
	r.held = nil
}

func (s *stage) run(job *wire.Request, worker string) *feed {
	key := fmt.Sprintf("%s.%d.%s", job.ID, job.Attempt, worker)
	for _, r := range s.runs {
		if r.key == key {
			return r
		}
	}
	r := &feed{key: key, id: relay.RunID{Worker: worker, Run: uint64(len(s.runs) + 1)}, job: *job}
	s.runs = append(s.runs, r)
	return r
}

func (s *stage) sent(job *wire.Request, worker string) int { return len(s.run(job, worker).frames) }

func (s *stage) next(job *wire.Request, worker string, way []wire.Kind) wire.Kind {
	return way[min(s.sent(job, worker), len(way)-1)]
}

func (s *stage) batch(r *feed, frames []wire.Frame) {
	batch := wire.AppendFrameHeader(nil, r.id.Worker)
	for i := range frames {
		batch = wire.AppendFrame(batch, &frames[i])
	}
	s.recv.Batch(batch)
}

// read takes what is there of the answer, at most one piece.
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
	nothingMore, cancel := context.WithCancelCause(context.Background())
	cancel(errNotYet)
	p, err := c.res.answer.Next(nothingMore)
	switch {
	case errors.Is(err, errNotYet):
	case err != nil:
		c.over = err
	default:
		c.pieces = append(c.pieces, string(p))
	}
}

var errNotYet = errors.New("nothing yet")

func (c *patron) close() {
	if c.res != nil && c.res.answer != nil {
		c.res.answer.Close()
		c.closed = true
	}
}
