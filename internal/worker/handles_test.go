package worker_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/internal/worker/workertest"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/baton-llm/baton/prefill"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"
)

// life is what happens to one job and its handle.
type life struct {
	stream   bool
	takes    time.Duration // of each engine call
	prefills bool          // the prefill engine does what it shall
	answers  bool          // the decode engine, likewise
	cancel   time.Duration // when the client leaves; 0: it stays
	deadline time.Duration // 0: none
	copies   int           // deliveries of the decode job
	away     bool          // the decode worker never takes it
	twice    bool          // each control is delivered twice
	lost     bool          // or not at all

	key string // of its job
}

var drawLife = rapid.Custom(func(t *rapid.T) life {
	moment := func(name string) time.Duration {
		if !rapid.Bool().Draw(t, name+" at all") {
			return 0
		}
		return time.Duration(rapid.IntRange(1, 500).Draw(t, name)) * 10 * time.Millisecond
	}
	return life{
		stream: rapid.Bool().Draw(t, "stream"), takes: time.Duration(rapid.IntRange(1, 2000).Draw(t, "takes"))*time.Millisecond + time.Microsecond,
		prefills: rapid.IntRange(0, 4).Draw(t, "prefills") > 0, answers: rapid.IntRange(0, 4).Draw(t, "answers") > 0,
		cancel: moment("cancel"), deadline: moment("deadline"), copies: rapid.IntRange(1, 2).Draw(t, "copies"),
		away: rapid.IntRange(0, 4).Draw(t, "away") == 4, twice: rapid.Bool().Draw(t, "twice"), lost: rapid.IntRange(0, 4).Draw(t, "lost") == 4,
	}
})

// pair is a prefill and a decode worker amid fakes.
type pair struct {
	lives   map[string]*life
	prefill *prefill.Worker
	ledger  *kvtransfer.Ledger
	first   *workertest.Queue[wire.PrefillJob]
	second  *workertest.Queue[wire.DecodeJob]
	frames  [2]*workertest.Frames
	reports [2]*workertest.Reports

	mu     sync.Mutex
	jobs   int              // decode jobs published
	issued map[uint64]*life // by the handle's serial
}

type anyBody struct{}

func (anyBody) Name() string                                                 { return "fake" }
func (anyBody) PreparePrefill(b []byte) ([]byte, error)                      { return b, nil }
func (anyBody) PrepareDecode(b []byte, _ *kvtransfer.Handle) ([]byte, error) { return b, nil }
func (anyBody) HandleFrom([]byte) (kvtransfer.Handle, error) {
	return kvtransfer.Handle{Connector: "fake", PromptTokens: 100}, nil
}

// leg is one of the engines.
type leg struct {
	*pair
	works func(*life) bool
}

var errEngine = &engine.StatusError{Status: 500}

func (l leg) Post(ctx context.Context, call engine.Call) ([]byte, error) {
	life := l.lives[call.RequestID]
	select {
	case <-time.After(life.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !l.works(life) {
		return nil, errEngine
	}
	return []byte("{}"), nil
}

func (leg) Done(_, answered time.Time) time.Time { return answered }

func (leg) Silence(_, _, _ time.Time) (longest, within time.Duration) { return 0, 0 }

func (l leg) Stream(ctx context.Context, call engine.Call) (decode.Stream, error) {
	return &twoEvents{ctx: ctx, leg: l, call: call}, nil
}

// twoEvents is an answer of two events.
type twoEvents struct {
	ctx  context.Context //nolint:containedctx // of the call
	leg  leg
	call engine.Call
	sent int
}

func (s *twoEvents) Next() (sse.Event, error) {
	if _, err := s.leg.Post(s.ctx, s.call); err != nil {
		return sse.Event{}, err
	}
	if s.sent++; s.sent > 2 {
		return sse.Event{}, io.EOF
	}
	return sse.Event{Data: []byte(`{"a":1}`)}, nil
}

func (*twoEvents) More() bool { return false }

func (s *twoEvents) Close() error { return nil }

// Publish makes the pair the decode queue.
func (p *pair) Publish(_ context.Context, job *wire.DecodeJob) (bus.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs++
	life := p.lives[job.ID]
	p.issued[job.Handle.Serial] = life
	if !life.away {
		for n := range life.copies {
			p.second.Put(*job, n+1)
		}
	}
	return bus.Receipt{Seq: uint64(p.jobs)}, nil
}

func (p *pair) notify(c wire.Control) {
	p.mu.Lock()
	life := p.issued[c.Run]
	p.mu.Unlock()
	times := 1
	if life.twice {
		times = 2
	}
	if life.lost {
		times = 0
	}
	for range times {
		p.prefill.Control("d1", c)
	}
}

// Whatever becomes of requests, workers' words and engines: each handle that was issued ends once, within
// its lease, and the dispatchers hear once that the engine holds nothing of it.
func TestEachHandleEndsExactlyOnce(t *testing.T) {
	var seen kvtransfer.Totals
	rapid.Check(t, func(rt *rapid.T) {
		lives := rapid.SliceOfN(drawLife, 1, 12).Draw(rt, "lives")
		stop := time.Duration(rapid.IntRange(1, 60_000).Draw(rt, "stop")) * time.Millisecond
		var faults []string
		synctest.Test(t, func(t *testing.T) {
			got, wrong := live(t, lives, stop)
			seen.Consumed, seen.Released, seen.Expired = seen.Consumed+got.Consumed, seen.Released+got.Released, seen.Expired+got.Expired
			faults = wrong
		})
		if len(faults) > 0 {
			rt.Fatalf("%s", strings.Join(faults, "\n"))
		}
	})
	if seen.Consumed == 0 || seen.Released == 0 || seen.Expired == 0 {
		t.Errorf("handles ended only so: %+v", seen)
	}
}

// live runs the lives on one pair, whose drain begins at stop, and returns what is wrong afterwards.
func live(t *testing.T, lives []life, stop time.Duration) (_ kvtransfer.Totals, wrong []string) {
	p := &pair{
		lives: map[string]*life{}, issued: map[uint64]*life{}, ledger: kvtransfer.NewLedger(prometheus.NewRegistry()),
		first: workertest.NewQueue[wire.PrefillJob](), second: workertest.NewQueue[wire.DecodeJob](),
		frames: [2]*workertest.Frames{workertest.NewFrames(), workertest.NewFrames()}, reports: [2]*workertest.Reports{workertest.NewReports(), workertest.NewReports()},
	}
	log, tracer := slog.New(slog.DiscardHandler), noop.NewTracerProvider().Tracer("")
	cfg := prefill.DefaultConfig()
	cfg.DrainTimeout = 2 * cfg.Lease // whatever is out when the drain begins ends within it
	p.prefill = prefill.New(cfg, "p1", prefill.Deps{
		Jobs: p.first.Source, Next: p, Reporter: p.reports[0], Frames: p.frames[0], Bodies: workertest.Bodies{},
		Engine: leg{p, func(l *life) bool { return l.prefills }}, Connector: anyBody{}, Ledger: p.ledger,
		Registerer: prometheus.NewRegistry(), Tracer: tracer, Log: log,
	})
	d := decode.New(decode.DefaultConfig(), "d1", decode.Deps{
		Jobs: []worker.Source[wire.DecodeJob]{p.second.Source}, Reporter: p.reports[1], Frames: p.frames[1], Bodies: workertest.Bodies{},
		Engine: leg{p, func(l *life) bool { return l.answers }}, Connector: anyBody{}, Capacity: func(context.Context) (int, error) { return 0, nil },
		Notify:     func(_ string, c wire.Control) { p.notify(c) },
		Registerer: prometheus.NewRegistry(), Tracer: tracer, Log: log,
	})
	for i := range lives {
		p.add(fmt.Sprint("r", i), &lives[i])
	}
	ctx, drain := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return p.prefill.Run(ctx) })
	running.Go(func() error { return d.Run(ctx) })
	time.Sleep(stop)
	drain()
	if err := running.Wait(); err != nil {
		wrong = append(wrong, fmt.Sprint("Run = ", err))
	}
	return p.ledger.Totals(), append(wrong, p.faults()...)
}

// add queues a job and has its client leave when it does.
func (p *pair) add(id string, l *life) {
	p.lives[id] = l
	body := []byte(`{"prompt":"a"}`)
	req := wire.Request{
		ID: id, Frontend: "f", Stream: uint64(len(p.lives)), Attempt: 1, Model: "m", Path: "/v1/completions", Streaming: l.stream, Usage: true,
		Digest: wire.BodyDigest(body), BodySize: len(body), PromptTokens: 100,
	}
	if l.deadline > 0 {
		req.Deadline = time.Now().Add(l.deadline)
	}
	if l.cancel > 0 {
		time.AfterFunc(l.cancel, func() {
			for _, f := range p.frames {
				f.Cancel(id)
			}
		})
	}
	l.key = req.MsgID()
	p.first.Put(wire.PrefillJob{Request: req, Body: body, Assignment: &wire.Assignment{Place: wire.PlaceSplit, Decode: "d1"}}, 1)
}

// faults says what is not as it must be once both workers have ended.
func (p *pair) faults() (wrong []string) {
	fault := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	t := p.ledger.Totals()
	if t.Open != 0 || t.Issued != t.Consumed+t.Released+t.Expired {
		fault("the ledger says %+v", t)
	}
	var read, issued uint64
	for id, l := range p.lives {
		frames := p.frames[1].Of(id)
		if !l.lost && slices.ContainsFunc(frames, func(f wire.Frame) bool { return f.Kind == wire.End }) {
			read++
		}
		stages := p.reports[0].Stages(l.key)
		switch stages {
		case "", "prefilling ended":
		case "prefilling handed ended":
			issued++
		default:
			fault("%s: the dispatchers heard %q of the prefill", id, stages)
		}
	}
	if t.Issued != issued {
		fault("%d handles were issued, the dispatchers heard the end of %d", t.Issued, issued)
	}
	if t.Consumed < read {
		fault("%d answers came from handles, %d of those are consumed", read, t.Consumed)
	}
	return wrong
}
