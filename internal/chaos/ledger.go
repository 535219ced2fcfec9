package chaos

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Ledger is what became of the KV handles that the prefill workers issued in their last lives.
type Ledger struct {
	Issued   int `json:"issued"`
	Consumed int `json:"consumed"`
	Released int `json:"released"`
	Expired  int `json:"expired"`
	Open     int `json:"open"`
}

// Held is what is still held after all requests have ended.
type Held struct {
	PinnedBlocks int `json:"pinned_blocks"` // by the engines' own count
	AtEngines    int `json:"at_engines"`    // requests that run or wait there
	PrefillJobs  int `json:"prefill_jobs"`  // in the queue of all that has not begun
	DecodeJobs   int `json:"decode_jobs"`   // in that of handles
	Open         int `json:"open_handles"`
}

const settleTime = lease + 20*time.Second

// settle waits until nothing is held, at the longest for some time more than a lease, and notes what then still is.
func (r *run) settle(ctx context.Context) {
	begun := time.Now()
	for {
		ledger, held, err := r.look(ctx)
		over := time.Since(begun) > settleTime
		if err == nil && (held == Held{} || over) {
			if sum := ledger.Consumed + ledger.Released + ledger.Expired + ledger.Open; sum != ledger.Issued {
				err = fmt.Errorf("of %d handles issued %d are accounted for", ledger.Issued, sum)
			}
		} else if !over {
			if !sleep(ctx, 5*askEvery) {
				return
			}
			continue
		}
		if held != (Held{}) {
			r.broken("after %s %d KV blocks are pinned, %d requests at engines, %d prefill and %d decode jobs queued, %d handles open",
				settleTime, held.PinnedBlocks, held.AtEngines, held.PrefillJobs, held.DecodeJobs, held.Open)
		}
		if err != nil {
			r.broken("books at the end: %v", err)
		}
		r.count(func(rep *Report) { rep.Ledger, rep.Held, rep.Settled = ledger, held, time.Since(begun) })
		return
	}
}

// look asks every part for what it holds.
func (r *run) look(ctx context.Context) (l Ledger, h Held, err error) {
	for _, p := range r.parts {
		switch what, _, _ := strings.Cut(p.name, "-"); what {
		case "engine":
			s, err := p.stats(ctx)
			if err != nil {
				return l, h, err
			}
			h.PinnedBlocks += s.PinnedBlocks
			h.AtEngines += s.Running + s.Waiting
		case "prefill":
			m, err := p.metrics(ctx)
			if err != nil {
				return l, h, err
			}
			l.Issued += m.sum("baton_kv_handles_issued_total")
			l.Consumed += m.sum("baton_kv_handles_ended_total", `end="consumed"`)
			l.Released += m.sum("baton_kv_handles_ended_total", `end="released"`)
			l.Expired += m.sum("baton_kv_handles_ended_total", `end="expired"`)
			l.Open += m.sum("baton_kv_handles_open")
		case "frontend":
			m, err := p.metrics(ctx)
			if err != nil {
				return l, h, err
			}
			h.PrefillJobs = max(h.PrefillJobs, m.sum("baton_queue_messages", `queue="prefill"`))
			h.DecodeJobs = max(h.DecodeJobs, m.sum("baton_queue_messages", `queue="decode"`))
		}
	}
	h.Open = l.Open
	return l, h, nil
}

// samples are the lines of a metrics page.
type samples []string

func (p *part) metrics(ctx context.Context) (samples, error) {
	var text bytes.Buffer
	if err := p.get(ctx, "/metrics", &text); err != nil {
		return nil, err
	}
	return strings.Split(text.String(), "\n"), nil
}

// sum adds the samples of a series that have the labels.
func (s samples) sum(name string, labels ...string) (sum int) {
next:
	for _, line := range s {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err == nil {
			sum += int(v)
		}
	}
	return sum
}
