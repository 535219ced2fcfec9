// Package load is the client that all routers are measured with: one connection and one goroutine per stream, no
// HTTP library, answers searched as bytes. It costs little, the same in front of everyone, and shares no code with
// what it measures.
package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is one load: Conns connections, each with one request after the other. Connections take turns with the addresses,
// requests with the bodies.
type Plan struct {
	Addrs   []string // host:port
	Path    string
	Bodies  [][]byte
	Tokens  int // that each answer must have
	Conns   int
	For     time.Duration // new requests begin for so long
	PerConn int           // requests of each connection at most; 0: no bound but For
	Gaps    bool          // keep the times between tokens
	Timeout time.Duration // of one request
}

// Result is what a load saw.
type Result struct {
	Requests int // complete
	Failed   int
	Tokens   int
	AtOnce   int           // the most answers that had begun and not ended
	Wall     time.Duration // first request to last answer
	TTFT     []time.Duration
	Gaps     []time.Duration // between two arrivals of tokens of one answer; tokens that came together have one
	Err      error           // of the first request that failed
}

// Run plays a plan. The error is of the plan; those of requests are in the result.
func Run(ctx context.Context, p *Plan) (*Result, error) {
	if len(p.Addrs) < 1 || len(p.Bodies) < 1 || p.Conns < 1 || p.Tokens < 1 || p.Timeout <= 0 {
		return nil, errors.New("a load needs addresses, bodies, connections, tokens and a timeout")
	}
	requests := make([][][]byte, len(p.Addrs)) // by address and body
	for i, addr := range p.Addrs {
		for _, body := range p.Bodies {
			request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", p.Path, addr, len(body))
			requests[i] = append(requests[i], append(request, body...))
		}
	}

	var began running
	parts := make([]Result, p.Conns)
	var g sync.WaitGroup
	start := time.Now()
	stop := start.Add(p.For)
	for i := range parts {
		g.Go(func() { parts[i].converse(ctx, p, i, requests[i%len(requests)], stop, &began) })
	}
	g.Wait()
	all := &Result{Wall: time.Since(start), AtOnce: int(began.most.Load())}
	for i := range parts {
		all.add(&parts[i])
	}
	return all, nil
}

// running counts the answers that are under way, of all connections.
type running struct{ now, most atomic.Int64 }

func (r *running) begin() {
	now := r.now.Add(1)
	for {
		most := r.most.Load()
		if now <= most || r.most.CompareAndSwap(most, now) {
			return
		}
	}
}

func (r *running) end() { r.now.Add(-1) }

func (r *Result) add(o *Result) {
	r.Requests += o.Requests
	r.Failed += o.Failed
	r.Tokens += o.Tokens
	r.TTFT = append(r.TTFT, o.TTFT...)
	r.Gaps = append(r.Gaps, o.Gaps...)
	if r.Err == nil {
		r.Err = o.Err
	}
}

// converse makes the requests of connection i, which it opens again after a failure.
func (r *Result) converse(ctx context.Context, p *Plan, i int, requests [][]byte, stop time.Time, began *running) {
	var c *conn
	defer func() { c.close() }()
	for n := 0; (p.PerConn == 0 || n < p.PerConn) && time.Now().Before(stop) && ctx.Err() == nil; n++ {
		var err error
		if c == nil {
			c, err = open(ctx, p.Addrs[i%len(p.Addrs)], p.Timeout)
		}
		if err == nil {
			err = r.exchange(c, p, requests[(i+n)%len(requests)], began)
		}
		if err != nil {
			if r.Err == nil {
				r.Err = err
			}
			r.Failed++
			c.close()
			c = nil
		}
	}
}

// Quantile is the q-quantile (0 to 1) of the values, which it sorts; 0 of none.
func Quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}
