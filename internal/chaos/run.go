package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// run is one run under way.
type run struct {
	cfg       Config
	begun     time.Time // of the first request
	starter   *starter
	operator  *http.Client // asks parts how they are
	clients   *http.Client
	parts     []*part
	byName    map[string]*part
	spares    map[string]*semaphore.Weighted // by group: how many of its units may be broken at a time
	injecting sync.WaitGroup
	watchers  sync.WaitGroup
	phase     atomic.Int32 // a phase
	live      atomic.Int64 // streams of which something was seen

	mu     sync.Mutex
	faults []*injected
	report Report
	doors  map[*part]bool // frontends that take requests
	waits  [phases][]time.Duration
}

// Run starts a deployment, breaks it under load and reports. The error is about the run itself: whether the promise
// held is in the report.
func Run(ctx context.Context, cfg Config, progress func(string)) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "baton-chaos-")
		if err != nil {
			return nil, fmt.Errorf("make a folder for logs: %w", err)
		}
		cfg.Dir = dir
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for logs: %w", err)
	}
	// A connection of its own for each request: one that the server closes for being idle is no lost request.
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	r := &run{
		cfg: cfg, starter: newStarter(), byName: map[string]*part{}, spares: map[string]*semaphore.Weighted{}, doors: map[*part]bool{},
		operator: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, clients: &http.Client{Transport: transport},
	}
	r.spares["nats"] = semaphore.NewWeighted(1) // it has no spare, and comes back
	for role, n := range map[string]int{"frontend": cfg.Frontends, "prefill": cfg.Prefill, "decode": cfg.Decode} {
		if n > 1 {
			r.spares[role] = semaphore.NewWeighted(int64(n - 1))
		}
	}
	r.report.Failures = map[string]int{}
	r.report.Scenario, r.report.Seed, r.report.Dir = cfg.Scenario, cfg.Seed, cfg.Dir
	defer r.starter.close()
	defer r.end()
	if err := r.deploy(); err != nil {
		return nil, err
	}
	if err := r.startAll(ctx); err != nil {
		return nil, fmt.Errorf("%w; its log is in %s", err, cfg.Dir)
	}
	progress(fmt.Sprintf("%d processes run, logs in %s", len(r.parts), cfg.Dir))
	r.load(ctx, progress)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	progress("the last request has ended; waiting until nothing is held")
	r.settle(ctx)
	for _, p := range r.parts {
		for _, line := range p.complaints() {
			r.broken("%s", line)
		}
	}
	return r.conclude(), ctx.Err()
}

// startAll starts the parts and waits until they are up.
func (r *run) startAll(ctx context.Context) error {
	for _, p := range r.parts {
		if p.late {
			continue
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	for _, p := range r.parts {
		if p.probe == "" || p.late {
			continue
		}
		if err := p.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// load runs clients, faults and what watches frontends until the last request has ended.
func (r *run) load(ctx context.Context, progress func(string)) {
	r.begun = time.Now()
	watching, stop := context.WithCancel(ctx)
	var g, watch sync.WaitGroup
	for _, p := range r.parts {
		if strings.HasPrefix(p.name, "frontend") {
			watch.Go(func() { r.watchDoor(watching, p) })
		}
	}
	watch.Go(func() { r.tell(watching, progress) })
	sending, enough := context.WithCancel(ctx)
	g.Go(func() { r.play(ctx, enough) })
	for i := range r.cfg.Clients {
		g.Go(func() { r.client(ctx, sending, i) })
	}
	g.Wait()
	stop()
	watch.Wait()
	r.report.Took = time.Since(r.begun)
}

// tellEvery is the time between two lines of progress.
const tellEvery = time.Minute

// tell says how a long run goes, until ctx ends.
func (r *run) tell(ctx context.Context, progress func(string)) {
	told := 0
	for sleep(ctx, tellEvery) {
		r.mu.Lock()
		failed := 0
		for _, n := range r.report.Failures {
			failed += n
		}
		line := fmt.Sprintf("%s: %d faults, %d requests have ended, %d of them failed; the promise was broken otherwise %d times",
			time.Since(r.begun).Round(time.Second), len(r.faults), r.report.Requests, failed, len(r.report.Broken))
		broken := r.report.Broken[told:]
		told = len(r.report.Broken)
		r.mu.Unlock()
		progress(line)
		for _, b := range broken {
			progress("BROKEN  " + b)
		}
	}
}

// watchDoor does what a load balancer does: a frontend takes requests once it is ready, until it drains or refuses
// connections. One that only does not answer, or misses workers, goes on getting some.
func (r *run) watchDoor(ctx context.Context, p *part) {
	for {
		var text strings.Builder
		err := p.get(ctx, p.probe, &text)
		switch {
		case err == nil:
			r.open(p, true)
		case strings.Contains(err.Error(), "draining"):
			r.open(p, false)
		}
		if !sleep(ctx, askEvery) {
			return
		}
	}
}

func (r *run) open(p *part, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doors[p] = is
}

// door chooses a frontend for try n of a client; nil if none takes requests.
func (r *run) door(client, n int) *part {
	r.mu.Lock()
	defer r.mu.Unlock()
	var open []*part
	for _, p := range r.parts {
		if r.doors[p] {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return open[(client+n)%len(open)]
}

// client sends one request after the other until sending ends.
func (r *run) client(ctx, sending context.Context, client int) {
	requests := draw
	if r.cfg.Scenario == DecodeKill {
		requests = drawLong
	}
	for n := 0; sending.Err() == nil; n++ {
		req, err := requests(r.cfg.Seed, client, n)
		if err != nil {
			r.broken("request %d of client %d cannot be made: %v", n, client, err)
			return
		}
		if !sleep(sending, req.think) {
			return
		}
		r.request(ctx, req, client, n)
		if r.cfg.Scenario == DecodeKill {
			return
		}
	}
}

// request sends a request, again where nothing of it was taken.
func (r *run) request(ctx context.Context, req *request, client, n int) {
	limit := time.Now().Add(r.cfg.Patience)
	for try := n; ctx.Err() == nil; try++ {
		door := r.door(client, try)
		if door == nil {
			if time.Now().After(limit) {
				r.ended(req, nil, &exchange{}, limit.Add(-r.cfg.Patience), &failure{failFrontend, "none takes requests"})
				return
			}
			sleep(ctx, askEvery)
			continue
		}
		x := &exchange{request: req, patience: r.cfg.Patience, life: door.lives(), phase: &r.phase, live: &r.live}
		begun := time.Now()
		err := x.send(ctx, r.clients, door.url)
		var b *busy
		switch {
		case errors.Is(err, errRefused):
			r.open(door, false)
			continue
		case errors.As(err, &b) && time.Now().Before(limit):
			r.count(func(rep *Report) { rep.Refused++ })
			sleep(ctx, b.after)
			continue
		}
		r.ended(req, door, x, begun, err)
		return
	}
}

func (r *run) count(f func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.report)
}

// broken notes that the promise was broken otherwise than by a failed request.
func (r *run) broken(format string, args ...any) {
	r.count(func(rep *Report) { rep.Broken = append(rep.Broken, fmt.Sprintf(format, args...)) })
}

// ended enters a request into the books.
func (r *run) ended(req *request, door *part, x *exchange, begun time.Time, err error) {
	var f *failure
	if err != nil && !errors.As(err, &f) && !errors.Is(err, errLeft) {
		f = &failure{failStatus, err.Error()}
	}
	faults := r.during(begun, time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := &r.report
	rep.Requests++
	for p, silence := range x.silences {
		r.waits[p] = append(r.waits[p], silence)
	}
	switch {
	case f == nil && err != nil:
		rep.Left++
	case f == nil:
		rep.Whole++
	case door != nil && f.kind != failWrong && door.died(x.life):
		rep.WithFrontend++
	case x.begun && (f.kind == failEvent || f.kind == failCut) && !r.cfg.Strict:
		rep.CutShort++
	default:
		rep.Failures[f.kind]++
		rep.note(Failed{Request: req.id, Kind: f.kind, Detail: f.detail, At: begun.Sub(r.begun), After: time.Since(begun), During: faults})
	}
}

// end kills what still runs.
func (r *run) end() {
	for _, p := range r.parts {
		p.signal(sigKill)
	}
	r.watchers.Wait()
	for _, p := range r.parts {
		_ = p.log.Close()
	}
}

// conclude completes the report.
func (r *run) conclude() *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Faults = map[Kind]*Injected{}
	for _, i := range r.faults {
		k := r.report.Faults[i.Kind]
		if k == nil {
			k = &Injected{}
			r.report.Faults[i.Kind] = k
		}
		k.add(i)
	}
	r.report.Silence = quantiles(r.waits[opening])
	if r.cfg.Scenario == DecodeKill {
		r.report.Calm, r.report.Gap = quantiles(r.waits[calm]), quantiles(r.waits[after])
	}
	out := r.report
	out.Failures = maps.Clone(r.report.Failures)
	return &out
}
