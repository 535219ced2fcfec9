package app

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/enginesim"
)

// A deadline passes in each phase that a request goes through. Its client hears of it at that moment, and what the
// request had is free long before any lease is over: the engines have aborted it, no block is pinned, the queues
// are empty and the ledger is closed.
func TestDeadlineFreesEverythingInVirtualTime(t *testing.T) {
	const tokens, step = 1000, 10 * time.Millisecond
	type stats = enginesim.Stats
	// A prompt is computed within 0.6 s, and its KV cache moved within 1.1 s more.
	for name, c := range map[string]struct {
		requests int
		limit    time.Duration
		slow     float64                            // decode engine
		phase    func(prefill, decode stats) string // what is not as it has to be shortly before the deadline
		began    bool                               // clients have a part of the answer
	}{
		"queued": {4, 300 * time.Millisecond, 1, func(p, d stats) string {
			return unless(p.Running == 1 && p.Waiting <= 1 && d.Running+d.Waiting == 0, "one is computed, and one at most waits at the engine")
		}, false},
		"in prefill": {1, 300 * time.Millisecond, 1, func(p, d stats) string {
			return unless(p.Running == 1 && p.PinnedBlocks == 0 && d.Running+d.Waiting == 0, "it is computed")
		}, false},
		"its handle waits": {1, time.Second, 1, func(p, d stats) string {
			return unless(p.Running == 0 && p.PinnedBlocks > 0 && d.Waiting == 1, "its blocks are pinned until they have been read")
		}, false},
		"in decode, before the first byte": {1, 3 * time.Second, 100, func(p, d stats) string {
			return unless(p.PinnedBlocks == 0 && d.Running == 1 && d.Generated == 0, "its KV cache has come and no token is there")
		}, false},
		"in the midst of a stream": {1, 3 * time.Second, 1, func(p, d stats) string {
			return unless(p.PinnedBlocks == 0 && d.Running == 1 && d.Generated > 10, "it streams")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := onePair()
			cfg.Sim.TransferGBps = 2.5
			cfg.Up.DecodeSlow = c.slow
			deployedInVirtualTime(t, cfg, func(t *testing.T, d *deployment, client *http.Client) {
				var g errgroup.Group
				for i := range c.requests {
					g.Go(func() error {
						begun := time.Now()
						status, text := ask(t, client, MemoryURL+"/v1/chat/completions", chatBody(cfg.Sim.Model, longPrompt(i), tokens),
							"X-Baton-Deadline-Ms", strconv.FormatInt(c.limit.Milliseconds(), 10))
						took := time.Since(begun)
						want := http.StatusGatewayTimeout
						if c.began {
							want = http.StatusOK
						}
						if status != want || took != c.limit || !strings.Contains(text, "deadline") {
							t.Errorf("after %v the answer is %d … %s, want %d and what the deadline did", took, status, text[max(0, len(text)-200):], want)
						}
						return nil
					})
				}
				time.Sleep(c.limit - step)
				prefill, decode := d.engines[0].engine, d.engines[1].engine
				if d.engines[0].role != "prefill" {
					prefill, decode = decode, prefill
				}
				if bad := c.phase(prefill.Stats(), decode.Stats()); bad != "" {
					t.Errorf("shortly before the deadline it is not so that %s: prefill %+v, decode %+v", bad, prefill.Stats(), decode.Stats())
				}
				if err := g.Wait(); err != nil {
					t.Error(err)
				}
				begun := time.Now()
				nothingHeld(t, d)
				took := time.Since(begun)
				if most := 3 * time.Second; took > most {
					t.Errorf("it took %v until nothing was held, want %v at most", took, most)
				}
				t.Logf("nothing is held %v after the deadline", took)
				p, q := prefill.Stats(), decode.Stats()
				if p.Expired > 0 || p.Aborted+q.Aborted == 0 {
					t.Errorf("engines aborted %d requests and %d leases ended: want the first and not the second", p.Aborted+q.Aborted, p.Expired)
				}
				if q.Generated > tokens/2 {
					t.Errorf("the decode engine made %d tokens, as if nobody had told it", q.Generated)
				}
			})
		})
	}
}

// unless is what was to be true and is not.
func unless(ok bool, what string) string {
	if ok {
		return ""
	}
	return what
}
