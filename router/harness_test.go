package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/series"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the router works with outside of tests.
var (
	_ router.Queue    = (*bus.Queue[wire.PrefillJob])(nil)
	_ router.Bodies   = (*bus.Bus)(nil)
	_ router.Fleet    = (*fleet.Fleet)(nil)
	_ router.Receiver = (*relay.Receiver)(nil)
)

// queue is a work queue in memory.
type queue struct {
	mu        sync.Mutex
	jobs      []wire.PrefillJob
	removed   []uint64
	abandoned []string                       // "model key"
	lost      map[string]bool                // jobs by id that are not there any more
	refuse    func(j *wire.PrefillJob) error // nil: takes all
	slow      time.Duration                  // of Publish
}

func (q *queue) Publish(ctx context.Context, j *wire.PrefillJob) (bus.Receipt, error) {
	if q.slow > 0 {
		select {
		case <-time.After(q.slow):
		case <-ctx.Done():
			return bus.Receipt{}, ctx.Err()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		if err := q.refuse(j); err != nil {
			return bus.Receipt{}, err
		}
	}
	q.jobs = append(q.jobs, *j)
	return bus.Receipt{Seq: uint64(len(q.jobs))}, nil
}

func (q *queue) Remove(_ context.Context, seq uint64) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removed = append(q.removed, seq)
	return true, nil
}

func (q *queue) Lost(_ context.Context, jobs map[string]uint64) (lost []string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id := range jobs {
		if q.lost[id] {
			lost = append(lost, id)
		}
	}
	return lost, nil
}

// lose has the queue forget the last job.
func (q *queue) lose() {
	jobs := q.all()
	q.forget(&jobs[len(jobs)-1].Request)
}

// forget has the queue forget a job.
func (q *queue) forget(job *wire.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost == nil {
		q.lost = map[string]bool{}
	}
	q.lost[job.MsgID()] = true
}

func (q *queue) all() []wire.PrefillJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.jobs)
}

// Abandon is what the dispatchers hear.
func (q *queue) Abandon(model string, keys []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, key := range keys {
		q.abandoned = append(q.abandoned, model+" "+key)
	}
	return nil
}

func (q *queue) givenUp() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.abandoned)
}

func (q *queue) gone() []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.removed)
}

// receiver hands on frames at once and keeps what it was told.
type receiver struct {
	mu        sync.Mutex
	sinks     map[uint64]relay.Sink
	runs      map[uint64]map[relay.RunID]bool // of open streams; true: final frame seen
	cancelled []relay.RunID
	consumed  map[relay.RunID]uint32
}

func (r *receiver) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (r *receiver) Open(stream uint64, sink relay.Sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sinks[stream], r.runs[stream] = sink, map[relay.RunID]bool{}
}

func (r *receiver) Close(stream uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, final := range r.runs[stream] {
		if !final {
			r.cancelled = append(r.cancelled, id)
		}
	}
	delete(r.sinks, stream)
	delete(r.runs, stream)
}

func (r *receiver) Consumed(id relay.RunID, seq uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.consumed[id] = seq
}

func (r *receiver) Cancel(id relay.RunID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancelled = append(r.cancelled, id)
}

func (r *receiver) frame(id relay.RunID, f wire.Frame) {
	r.mu.Lock()
	sink := r.sinks[f.Stream]
	if sink == nil {
		r.cancelled = append(r.cancelled, id)
		r.mu.Unlock()
		return
	}
	r.runs[f.Stream][id] = f.Kind.Final()
	r.mu.Unlock()
	if !sink.Frame(id, f, true) {
		r.Cancel(id)
	}
}

func (r *receiver) wasCancelled(id relay.RunID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.cancelled, id)
}

// lose tells the sink of a job that a worker has its run no more.
func (r *receiver) lose(id relay.RunID, job *wire.Request) {
	r.mu.Lock()
	sink := r.sinks[job.Stream]
	r.mu.Unlock()
	sink.Lost(id)
}

type fakeFleet struct {
	models  []string
	missing []string
	dead    []string
	onGone  func(string)
}

func (f *fakeFleet) Model(id string) (fleet.Status, bool) {
	return fleet.Status{}, slices.Contains(f.models, id)
}

func (f *fakeFleet) Models() (models []wire.Model) {
	for _, id := range f.models {
		models = append(models, wire.Model{ID: id})
	}
	return models
}
func (f *fakeFleet) Missing() []string     { return f.missing }
func (f *fakeFleet) Alive(w string) bool   { return !slices.Contains(f.dead, w) }
func (f *fakeFleet) OnGone(g func(string)) { f.onGone = g }

type bucket struct {
	mu     sync.Mutex
	bodies map[string][]byte
	puts   int
}

func (b *bucket) PutBody(_ context.Context, body []byte) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts++
	ref := "ref-" + strconv.Itoa(b.puts)
	b.bodies[ref] = body
	return ref, nil
}

func (b *bucket) DeleteBody(_ context.Context, ref string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.bodies, ref)
	return nil
}

// MaxPayload is that of a NATS server.
func (b *bucket) MaxPayload() int { return 1 << 20 }

func (b *bucket) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.bodies)
}

type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// rig is a router among fakes, inside a synctest bubble.
type rig struct {
	t      fatal
	r      *router.Router
	queue  *queue
	recv   *receiver
	fleet  *fakeFleet
	bucket *bucket
	reg    *prometheus.Registry
	end    func()
}

func newRig(t fatal, cfg router.Config) *rig {
	h := &rig{
		t: t, queue: &queue{},
		recv:   &receiver{sinks: map[uint64]relay.Sink{}, runs: map[uint64]map[relay.RunID]bool{}, consumed: map[relay.RunID]uint32{}},
		fleet:  &fakeFleet{models: []string{"m"}},
		bucket: &bucket{bodies: map[string][]byte{}}, reg: prometheus.NewRegistry(),
	}
	h.r = router.New(cfg, "f1", router.Deps{
		Queue: h.queue, Abandon: h.queue.Abandon, Bodies: h.bucket, Fleet: h.fleet, Receiver: h.recv,
		Aim: series.Aim{TTFT: 5 * time.Second, TPOT: time.Second}, Registerer: h.reg, Tracer: noop.NewTracerProvider().Tracer(""), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.r.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	h.end = func() {
		cancel()
		<-done
	}
	return h
}

// bubble runs f with a rig in virtual time.
func bubble(t *testing.T, cfg router.Config, f func(t *testing.T, h *rig)) {
	synctest.Test(t, func(t *testing.T) {
		h := newRig(t, cfg)
		defer h.end()
		f(t, h)
	})
}

type result struct {
	answer *router.Answer
	err    error
}

// do starts Do and waits until all stand still.
func (h *rig) do(ctx context.Context, req *router.Request) chan result {
	out := make(chan result, 1)
	go func() {
		a, err := h.r.Do(ctx, req)
		out <- result{a, err}
	}()
	synctest.Wait()
	return out
}

// now returns what Do returned already.
func (h *rig) now(out chan result) result {
	h.t.Helper()
	synctest.Wait()
	select {
	case res := <-out:
		return res
	default:
		h.t.Fatalf("Do has not returned; in flight: %+v", h.r.Requests())
		return result{}
	}
}

// waits fails if Do has returned.
func (h *rig) waits(out chan result) {
	h.t.Helper()
	synctest.Wait()
	select {
	case res := <-out:
		h.t.Fatalf("Do returned early: %+v", res)
	default:
	}
}

// job returns the last job's request.
func (h *rig) job() *wire.Request {
	h.t.Helper()
	jobs := h.queue.all()
	if len(jobs) == 0 {
		h.t.Fatalf("no job was published")
	}
	return &jobs[len(jobs)-1].Request
}

// run sends frames of one run.
type run struct {
	h    *rig
	id   relay.RunID
	job  wire.Request
	next uint32
}

func (h *rig) run(worker string, n uint64, job *wire.Request) *run {
	return &run{h: h, id: relay.RunID{Worker: worker, Run: n}, job: *job}
}

// What a run's first frame says of how the dispatcher placed the job.
var (
	splitly = assigned(wire.Assignment{Place: wire.PlaceSplit, Why: "split", Waited: 500 * time.Millisecond})
	wholly  = assigned(wire.Assignment{Place: wire.PlaceWhole, Why: "lend", Waited: 500 * time.Millisecond})
)

// Payloads of frames.
func assigned(a wire.Assignment) string { return string(a.Append(nil)) }
func handed(i wire.HandedInfo) string   { return string(i.Append(nil)) }
func finish(i wire.EndInfo) string      { return string(i.Append(nil)) }

func (r *run) send(kind wire.Kind, payload string) *run {
	r.h.recv.frame(r.id, wire.Frame{Run: r.id.Run, Stream: r.job.Stream, Attempt: r.job.Attempt, Seq: r.next, Kind: kind, Payload: []byte(payload)})
	r.next++
	return r
}

func (r *run) fail(f wire.Failure) *run {
	payload, err := json.Marshal(f)
	if err != nil {
		r.h.t.Fatalf("%v", err)
	}
	return r.send(wire.Fail, string(payload))
}

func (r *run) cancelled() bool { return r.h.recv.wasCancelled(r.id) }

// rest reads an answer to its end.
func rest(a *router.Answer) (pieces []string, err error) {
	for {
		p, err := a.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return pieces, nil
		}
		if err != nil {
			return pieces, err
		}
		pieces = append(pieces, string(p))
	}
}

func request() *router.Request {
	return &router.Request{ID: "r1", Path: "/v1/completions", Model: "m", Class: wire.Standard, Streaming: true, Body: []byte(`{"model":"m"}`)}
}

func wantError(t fatal, err error, status int, code string) *router.Error {
	t.Helper()
	var e *router.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a *router.Error", err)
	}
	if e.Status != status || e.Code != code {
		t.Errorf("error is %d %q (%s), want %d %q", e.Status, e.Code, e.Message, status, code)
	}
	return e
}

// over fails unless nothing is in flight and the request has ended in the one state.
func (h *rig) over(want map[string]int) {
	h.t.Helper()
	synctest.Wait()
	if n := len(h.r.Requests()); n != 0 {
		h.t.Errorf("%d requests are still in flight", n)
	}
	if h.recv.open() != 0 {
		h.t.Errorf("%d streams are still open", h.recv.open())
	}
	if got := h.outcomes(); !mapsEqual(got, want) {
		h.t.Errorf("final states are %v, want %v", got, want)
	}
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

func mapsEqual(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func (r *receiver) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sinks)
}

func (h *rig) outcomes() map[string]int {
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	got := map[string]int{}
	for _, f := range families {
		if f.GetName() != "baton_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "outcome" {
					got[l.GetValue()] += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return got
}
