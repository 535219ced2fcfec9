package relay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// RunID names one run of one worker.
type RunID struct {
	Worker string
	Run    uint64
}

// Sink takes the frames of one stream, from all of its runs.
type Sink interface {
	// Frame is called for each frame of a run once and in order, possibly for several runs at
	// a time. It must not block. f.Payload is valid only during the call. It may call the
	// Receiver's methods except Batch. False cancels the run. With alone, nothing is known to follow at once, and the
	// caller has the time that a write to the client takes.
	Frame(id RunID, f wire.Frame, alone bool) bool
	// Lost is called when the worker of a run has it no more although its final frame has not
	// come: none will. It may be called while Frame runs for another run, and must not block.
	Lost(id RunID)
}

const (
	maxRunsPerStream = 64      // a stream with more is being fed nonsense
	maxStrangers     = 1 << 14 // unknown runs remembered between two ticks of a second
	cancelInterval   = time.Second
	askInterval      = time.Second // between two looks for runs of which nothing is heard
)

// Receiver is a frontend's half. All methods are safe for concurrent use and none blocks, except
// Run.
type Receiver struct {
	frontend string
	cfg      Config
	log      *slog.Logger
	metrics  receiverMetrics
	out      *outbox
	badLog   rate.Sometimes

	mu        sync.RWMutex // guards the maps, never held while a sink runs
	streams   map[uint64]*stream
	workers   map[string]*sending // those that have runs
	strangers map[RunID]struct{}  // cancelled lately; emptied each cancelInterval

	dirtyMu sync.Mutex
	dirty   []*incoming // to be acknowledged at the next tick
}

type stream struct {
	sink Sink
	runs []*incoming
}

// sending is a worker that has runs. Its name is the same string in all of them: frames come often, and the
// comparison of a string with itself costs nothing.
type sending struct {
	name string
	runs map[uint64]*incoming
}

// incoming is one run as the frontend sees it.
type incoming struct {
	id      RunID
	subject string // of the worker's controls
	sink    Sink
	order   sync.Mutex // held while the sink runs, so that frames stay in order

	mu        sync.Mutex // never held while the sink runs
	next      uint32     // frames delivered
	consumed  uint32
	sizes     []int // payload bytes of frames next-len(sizes) to next-1; those below consumed are done with
	unacked   int   // bytes consumed since the last Ack
	dirty     bool  // is in Receiver.dirty
	near      bool  // deliver is at work: it says itself what has come
	askedFor  uint32
	asked     time.Time // when askedFor was asked for; zero: no gap
	heard     time.Time // the last frame, or the last time that its worker was asked for it
	final     bool      // its final frame has come, or its worker has it no more
	cancelled time.Time // when Cancel was sent last; zero: not cancelled
}

// NewReceiver makes the Receiver of the frontend with this name; Run makes it work.
func NewReceiver(frontend string, publish Publish, cfg ReceiverConfig, reg prometheus.Registerer, log *slog.Logger) *Receiver {
	r := &Receiver{
		frontend: frontend, cfg: cfg, log: log, metrics: newReceiverMetrics(reg), badLog: rate.Sometimes{First: 1, Interval: 10 * time.Second},
		streams: map[uint64]*stream{}, workers: map[string]*sending{}, strangers: map[RunID]struct{}{},
	}
	r.out = newOutbox(publish, wire.AppendControlHeader(nil, frontend), &r.cfg, func(subject string, _ int, err error) {
		if err != nil {
			r.metrics.lost.Inc()
			r.log.Debug("publish of controls failed", slog.String("subject", subject), slog.Any("error", err))
		}
	})
	return r
}

// Run publishes acknowledgements until ctx ends, then those that are due, and returns.
func (r *Receiver) Run(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	outCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g.Go(func() { r.out.run(outCtx) })

	tick := time.NewTicker(r.cfg.AckInterval)
	defer tick.Stop()
	forget := time.NewTicker(cancelInterval)
	defer forget.Stop()
	ask := time.NewTicker(askInterval)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			r.ackDirty()
			return nil
		case <-tick.C:
			r.ackDirty()
		case <-forget.C:
			r.mu.Lock()
			clear(r.strangers)
			r.mu.Unlock()
		case now := <-ask.C:
			r.askSilent(now)
		}
	}
}

// Open hands the frames of stream to sink from now on.
func (r *Receiver) Open(id uint64, sink Sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[id] = &stream{sink: sink}
}

// Close forgets a stream and cancels those of its runs that have not sent their final frame. A
// Frame call that is under way may still end after it.
func (r *Receiver) Close(id uint64) {
	r.mu.Lock()
	s := r.streams[id]
	delete(r.streams, id)
	if s != nil {
		for _, in := range s.runs {
			w := r.workers[in.id.Worker]
			if delete(w.runs, in.id.Run); len(w.runs) == 0 {
				delete(r.workers, in.id.Worker)
			}
		}
	}
	r.mu.Unlock()
	if s == nil {
		return
	}
	for _, in := range s.runs {
		in.mu.Lock()
		if !in.final && in.cancelled.IsZero() {
			r.cancel(in)
		} else {
			r.ack(in)
		}
		in.mu.Unlock()
	}
}

// busy is how long the frames of a batch are written to their clients by the one goroutine that takes batches. What
// comes later in a large one is left to the goroutines of its streams, which may run at the same time.
const busy = time.Millisecond

// Batch takes one batch of frames. It keeps nothing of it.
func (r *Receiver) Batch(batch []byte) {
	begun := time.Now()
	err := wire.ReadFrames(batch, func(worker string, f wire.Frame) bool {
		r.frame(RunID{Worker: worker, Run: f.Run}, &f, time.Since(begun) < busy)
		return true
	})
	if err != nil {
		r.metrics.bad.Inc()
		r.badLog.Do(func() { r.log.Warn("batch of frames is unreadable", slog.Any("error", err)) })
	}
}

func (r *Receiver) frame(id RunID, f *wire.Frame, alone bool) {
	if f.Kind == wire.Unknown {
		r.lost(id)
		return
	}
	in := r.lookup(id, f.Stream)
	if in == nil {
		r.stranger(id)
		return
	}
	in.order.Lock()
	defer in.order.Unlock()
	if !r.accept(in, f) {
		return
	}
	keep := in.sink.Frame(in.id, *f, alone)
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case !keep && in.cancelled.IsZero():
		r.cancel(in)
	case in.final:
		r.ack(in) // the worker can let go at once
	}
}

// lookup finds or makes the run; nil if its stream is not open.
func (r *Receiver) lookup(id RunID, streamID uint64) *incoming {
	if in := r.known(id); in != nil {
		return in
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.find(id); in != nil {
		return in
	}
	s := r.streams[streamID]
	if s == nil || len(s.runs) >= maxRunsPerStream {
		return nil
	}
	w := r.workers[id.Worker]
	if w == nil {
		w = &sending{name: id.Worker, runs: map[uint64]*incoming{}}
		r.workers[id.Worker] = w
	}
	id.Worker = w.name
	in := &incoming{id: id, subject: wire.ControlSubject(id.Worker), sink: s.sink, heard: time.Now()}
	s.runs = append(s.runs, in)
	w.runs[id.Run] = in
	return in
}

// stranger cancels a run that nobody waits for, once in a while.
func (r *Receiver) stranger(id RunID) {
	r.metrics.unknown.Inc()
	r.mu.Lock()
	_, known := r.strangers[id]
	if !known && len(r.strangers) < maxStrangers {
		r.strangers[id] = struct{}{}
	}
	r.mu.Unlock()
	if !known {
		r.send(wire.ControlSubject(id.Worker), wire.Control{Kind: wire.Cancel, Run: id.Run})
	}
}

// accept tells whether f is the next frame of its run, and arranges the answer if it is not.
func (r *Receiver) accept(in *incoming, f *wire.Frame) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.cancelled.IsZero() {
		if time.Since(in.cancelled) >= cancelInterval {
			r.cancel(in)
		}
		return false
	}
	r.mark(in)
	in.heard = time.Now()
	switch {
	case f.Seq < in.next:
		r.metrics.duplicates.Inc()
		return false
	case f.Seq > in.next:
		r.gap(in)
		return false
	}
	r.enter(in, f)
	return true
}

// enter takes the next frame. It needs in.mu.
func (r *Receiver) enter(in *incoming, f *wire.Frame) {
	in.asked = time.Time{}
	in.next++
	in.sizes = append(in.sizes, len(f.Payload))
	in.final = f.Kind.Final()
	r.metrics.received.Inc()
}

// askSilent asks the workers of runs of which nothing was heard for Config.ProbeMax whether they still have them: a worker
// that has sent frames probes more often, and one that computes has nothing to say, but one that was cut off from
// this process for Config.GiveUp has forgotten its runs.
func (r *Receiver) askSilent(now time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, w := range r.workers {
		for _, in := range w.runs {
			in.mu.Lock()
			if !in.final && in.cancelled.IsZero() && now.Sub(in.heard) >= r.cfg.ProbeMax {
				in.heard = now
				r.send(in.subject, wire.Control{Kind: wire.Ask, Run: in.id.Run})
			}
			in.mu.Unlock()
		}
	}
}

// lost takes the news that a worker has a run no more.
func (r *Receiver) lost(id RunID) {
	in := r.known(id)
	if in == nil {
		return
	}
	in.order.Lock()
	defer in.order.Unlock()
	in.mu.Lock()
	over := in.final || !in.cancelled.IsZero()
	in.final = true
	in.mu.Unlock()
	if !over {
		in.sink.Lost(id)
	}
}

// gap asks for the frames from next on, once for each AckInterval.
func (r *Receiver) gap(in *incoming) {
	now := time.Now()
	if in.askedFor == in.next && !in.asked.IsZero() && now.Sub(in.asked) < r.cfg.AckInterval {
		return
	}
	in.askedFor, in.asked = in.next, now
	r.metrics.gaps.Inc()
	r.send(in.subject, wire.Control{Kind: wire.Resend, Run: in.id.Run, Received: in.next})
}

// Consumed says that the frames of a run up to and including seq reached the client.
func (r *Receiver) Consumed(id RunID, seq uint32) {
	in := r.known(id)
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.consumed <= seq && in.consumed < in.next {
		in.unacked += in.sizes[len(in.sizes)-int(in.next-in.consumed)]
		in.consumed++
	}
	if done := len(in.sizes) - int(in.next-in.consumed); done > len(in.sizes)/2 {
		in.sizes = slices.Delete(in.sizes, 0, done)
	}
	switch {
	case in.near:
	case in.unacked >= r.cfg.Window/2:
		r.ack(in)
	default:
		r.mark(in)
	}
}

// Cancel tells the worker of a run to stop; no more frames of it are handed on.
func (r *Receiver) Cancel(id RunID) {
	in := r.known(id)
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.cancelled.IsZero() {
		r.cancel(in)
	}
}

func (r *Receiver) known(id RunID) *incoming {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.find(id)
}

// find needs r.mu.
func (r *Receiver) find(id RunID) *incoming {
	w := r.workers[id.Worker]
	if w == nil {
		return nil
	}
	return w.runs[id.Run]
}

// cancel needs in.mu.
func (r *Receiver) cancel(in *incoming) {
	in.cancelled = time.Now()
	r.send(in.subject, wire.Control{Kind: wire.Cancel, Run: in.id.Run})
}

// ack needs in.mu.
func (r *Receiver) ack(in *incoming) {
	in.unacked = 0
	r.send(in.subject, wire.Control{Kind: wire.Ack, Run: in.id.Run, Received: in.next, Consumed: in.consumed})
}

// mark has the run acknowledged at the next tick. It needs in.mu.
func (r *Receiver) mark(in *incoming) {
	if in.dirty {
		return
	}
	in.dirty = true
	r.dirtyMu.Lock()
	defer r.dirtyMu.Unlock()
	r.dirty = append(r.dirty, in)
}

func (r *Receiver) ackDirty() {
	r.dirtyMu.Lock()
	dirty := r.dirty
	r.dirty = nil
	r.dirtyMu.Unlock()
	for _, in := range dirty {
		in.mu.Lock()
		in.dirty = false
		if in.cancelled.IsZero() {
			r.ack(in)
		}
		in.mu.Unlock()
	}
}

// maxControl is the most bytes that one control message takes.
const maxControl = 1 + 10 + 2*5

func (r *Receiver) send(subject string, c wire.Control) {
	var buf [maxControl]byte
	if !r.out.add(subject, wire.AppendControl(buf[:0], c), c.Kind != wire.Ack) {
		r.metrics.lost.Inc() // the next probe of the worker asks again
	}
}
