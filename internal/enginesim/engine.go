package enginesim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options are what an engine uses of its process.
type Options struct {
	Log    *slog.Logger                                                      // nil: nothing is logged
	Listen func(network, addr string) (net.Listener, error)                  // for the side channel; nil: net.Listen
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // for others' side channels; nil: net.Dialer
}

// Engine is one simulated engine. All its methods may be used concurrently.
type Engine struct {
	cfg      Config
	opts     Options
	profile  *profile
	metrics  *metrics
	handler  http.Handler
	wake     chan struct{} // has an element when there may be work
	beat     chan struct{} // has an element when requests may wait for another engine's KV cache
	requests atomic.Uint64 // generation requests, for Faults.Every
	tasks    sync.WaitGroup

	mu      sync.Mutex
	faults  Faults
	id      string          // engine_id in handles; a restarted engine has a new one
	ctx     context.Context //nolint:containedctx // Run's, for the pulls that the scheduler starts.
	host    string          // of the side channel
	port    int
	stopped bool
	pool    *pool
	waiting []*sequence // in the order of arrival; those that were preempted first
	pulling []*sequence
	ready   []*sequence // in the order in which their KV caches came
	running []*sequence
	pins    map[string]*pin
	gone    map[string]string // digests of the last handles that ended, by id
	goneIDs []string          // the oldest first
	out, in link              // KV caches that others read here, and that this engine reads
	count   Stats
}

// Stats are counts of one engine. Those of the first group are of this moment; a leak is what
// stays in them when no request is left. The others only grow.
type Stats struct {
	Running      int // sequences that compute
	Waiting      int // sequences that wait for their turn, for memory or for a KV cache
	KVUsedTokens int // size of the blocks that sequences or readers hold
	PinnedBlocks int // blocks held for remote reads

	Expired       int // leases that ended unread
	Consumed      int // KV caches that were read here
	Released      int // KV caches that their reader gave up unread
	StaleReads    int // reads here with a handle that had ended, or of an unknown one
	Pulled        int // KV caches that this engine read from others
	FailedPulls   int
	Aborted       int // sequences whose client left
	Preemptions   int
	Iterations    int
	Generated     int // tokens
	PrefixQueries int // prompt tokens looked up in the prefix cache
	PrefixHits    int // of them found
	ExternalHits  int // prompt tokens that came from other engines
}

// New returns an engine that does nothing before Run.
func New(cfg Config, opts Options) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("new simulated engine: %w", err)
	}
	p, err := profileByName(cfg.Profile)
	if err != nil {
		return nil, err
	}
	cfg = cfg.of(p)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Listen == nil {
		opts.Listen = net.Listen
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	e := &Engine{
		cfg: cfg, opts: opts, profile: p, faults: cfg.Faults, id: newUUID(),
		wake: make(chan struct{}, 1), beat: make(chan struct{}, 1), pool: newPool(cfg.KVTokens / cfg.BlockSize),
		pins: map[string]*pin{}, gone: map[string]string{},
	}
	e.metrics = newMetrics(e)
	e.handler = e.routes()
	return e, nil
}

// Handler is the engine's HTTP surface. Generation requests wait until Run runs.
func (e *Engine) Handler() http.Handler { return e.handler }

// Run serves HTTP on ln and the side channel until ctx ends, and returns nil within a second of
// that. It closes ln. An engine runs once.
func (e *Engine) Run(ctx context.Context, ln net.Listener) error {
	side, err := e.opts.Listen("tcp", e.cfg.SideChannel)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("listen on the side channel %s: %w", e.cfg.SideChannel, err)
	}
	host, port, err := splitAddr(side.Addr())
	if err != nil {
		return errors.Join(err, side.Close(), ln.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	e.mu.Lock()
	e.ctx, e.host, e.port = ctx, host, port
	e.mu.Unlock()

	server := &http.Server{
		Handler:     e.handler,
		ReadTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(e.opts.Log.Handler(), slog.LevelDebug),
	}
	g.Go(func() error { e.schedule(ctx); return nil })
	g.Go(func() error { e.heartbeat(ctx); return nil })
	g.Go(func() error { return unlessEnded(ctx, e.serveSide(ctx, side)) })
	g.Go(func() error { return unlessEnded(ctx, server.Serve(ln)) })
	g.Go(func() error {
		<-ctx.Done()
		return errors.Join(server.Close(), side.Close())
	})
	err = g.Wait()
	e.shut()
	e.tasks.Wait()
	return err
}

// unlessEnded drops the error of a server that was closed since ctx ended.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// shut ends all sequences and leases, so that no timer or waiting handler stays behind.
func (e *Engine) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	for _, s := range e.live() {
		e.end(s, ending{err: errEngineDead})
	}
	for _, p := range e.pins {
		e.unpin(p)
	}
}

// Stats returns the counts of this moment.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.count
	s.Running, s.Waiting = len(e.running), len(e.waiting)+len(e.pulling)+len(e.ready)
	s.KVUsedTokens = e.pool.used() * e.cfg.BlockSize
	for _, p := range e.pins {
		s.PinnedBlocks += len(p.blocks)
	}
	return s
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
