package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Options are the settings of a run. The zero value is a fair one.
type Options struct {
	MaxConcurrency int           // most requests in flight, of all streams together; 0: no limit
	Duration       time.Duration // how long requests are sent; those in flight then go on; 0: until all are sent
	Timeout        time.Duration // of one request; 0: six hours
	IDPrefix       string        // of the X-Request-Id; "": bench-
	Temperature    float64
	IgnoreEOS      bool           // ask for answers of exactly the planned length
	TokenIDs       bool           // count the answers' tokens by their ids instead of the usage
	KeepText       bool           // keep the answers' texts in the records
	ExtraBody      map[string]any // members that are added to each request body, or replace one

	// Progress is called once per Interval (0: a second) and once at the end, never twice at once;
	// nil: nobody looks.
	Progress func(Snapshot)
	Interval time.Duration
}

// defaultTimeout is what vLLM's benchmark client waits; a benchmark's queue may be hours long.
const defaultTimeout = 6 * time.Hour

// Run sends the plan to the target and returns when every answer has ended. The end of ctx cancels
// what is in flight: the result then holds what was seen so far and Interrupted. An error means
// that nothing was sent.
func Run(ctx context.Context, target Target, plan Plan, opts Options) (*Result, error) {
	if err := target.validate(); err != nil {
		return nil, err
	}
	if err := plan.validate(); err != nil {
		return nil, err
	}
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.IDPrefix == "" {
		opts.IDPrefix = "bench-"
	}
	transport := target.transport()
	defer transport.CloseIdleConnections()
	r := &runner{plan: plan, records: make([]*Record, len(plan.Requests)), limit: semaphore.NewWeighted(orNoLimit(opts.MaxConcurrency))}
	r.client = client{
		target: target, opts: &opts, http: &http.Client{Transport: transport}, begun: time.Now(),
		live: newLive(len(plan.Requests), opts.Progress != nil),
	}
	stopWatch := r.client.live.watch(r.client.begun, opts)
	r.run(ctx)
	out := r.result()
	stopWatch()
	out.Interrupted = ctx.Err() != nil
	return out, nil
}

func orNoLimit(n int) int64 {
	if n > 0 {
		return int64(n)
	}
	return math.MaxInt64
}

// runner sends one plan once.
type runner struct {
	plan    Plan
	client  client
	limit   *semaphore.Weighted // of requests in flight; first come, first served
	records []*Record           // by request; each is written by one goroutine, before wg.Wait returns
	wg      sync.WaitGroup
}

func (r *runner) run(ctx context.Context) {
	sending, stop := ctx, context.CancelFunc(func() {})
	if d := r.client.opts.Duration; d > 0 {
		sending, stop = context.WithDeadline(ctx, r.client.begun.Add(d))
	}
	defer stop()
	for i, conversations := range r.plan.conversations() {
		r.wg.Go(func() { r.stream(ctx, sending, r.plan.Streams[i].Concurrency, conversations) })
	}
	r.wg.Wait()
}

// stream starts the conversations of one stream in their order, each at its time. It takes the
// room in front of the start, so that they begin in order under any limit.
func (r *runner) stream(ctx, sending context.Context, concurrency int, conversations [][]int) {
	slots := semaphore.NewWeighted(orNoLimit(concurrency))
	for _, turns := range conversations {
		due := r.client.begun.Add(r.plan.Requests[turns[0]].At)
		if !sleep(sending, time.Until(due)) || !acquire(sending, slots) {
			return
		}
		if !acquire(sending, r.limit) {
			return
		}
		r.wg.Go(func() {
			defer slots.Release(1)
			r.converse(ctx, sending, turns)
		})
	}
}

// converse sends the turns of a conversation one after the other. The room for the first one is
// taken.
func (r *runner) converse(ctx, sending context.Context, turns []int) {
	var answers []string
	for k, i := range turns {
		req := &r.plan.Requests[i]
		due := req.At
		if k > 0 {
			due += time.Since(r.client.begun)
			if !sleep(sending, req.At) || !acquire(sending, r.limit) {
				return
			}
		}
		rec := r.record(i)
		rec.Due = due
		answers = append(answers, r.client.do(ctx, &r.plan.Streams[req.Stream], req, answers, rec))
		r.limit.Release(1)
		if rec.Err != nil {
			r.skip(turns[k+1:], rec)
			return
		}
	}
}

// record begins the record of request i.
func (r *runner) record(i int) *Record {
	req := &r.plan.Requests[i]
	r.records[i] = &Record{
		ID: r.client.opts.IDPrefix + strconv.Itoa(i), Stream: req.Stream, InputLen: req.InputLen, OutputLen: req.OutputLen,
	}
	return r.records[i]
}

// skip notes the turns that cannot be sent since the one of failed has no answer.
func (r *runner) skip(turns []int, failed *Record) {
	for _, i := range turns {
		rec := r.record(i)
		rec.Due, rec.Start, rec.End = failed.End, failed.End, failed.End
		rec.Err = &Failure{Kind: Skipped, Message: fmt.Sprintf("the turn before, %s, failed: %s", failed.ID, failed.Err.Kind)}
		r.client.live.unsent()
	}
}

func (r *runner) result() *Result {
	out := &Result{
		Began: r.client.begun, Duration: time.Since(r.client.begun), Endpoint: r.client.target.Endpoint, Model: r.client.target.Model,
		Streams: r.plan.Streams, MaxConcurrency: r.client.opts.MaxConcurrency,
	}
	for _, rec := range r.records {
		if rec == nil {
			out.Unsent++
			continue
		}
		out.Records = append(out.Records, *rec)
	}
	return out
}

// acquire takes one place and reports whether ctx still goes on.
func acquire(ctx context.Context, s *semaphore.Weighted) bool {
	return s.Acquire(ctx, 1) == nil && ctx.Err() == nil
}

// sleep waits and reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
