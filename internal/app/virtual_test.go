package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"golang.org/x/sync/errgroup"
)

// inVirtualTime runs f with a deployment whose engines and clients are in one memory, and checks
// that nothing is held when f is over.
func inVirtualTime(t *testing.T, cfg Config, f func(t *testing.T, client *http.Client, base string)) {
	deployedInVirtualTime(t, cfg, func(t *testing.T, _ *deployment, client *http.Client) { f(t, client, MemoryURL) })
}

// deployedInVirtualTime is inVirtualTime for tests that look at the parts, too. The frontend is at MemoryURL.
func deployedInVirtualTime(t *testing.T, cfg Config, f func(t *testing.T, d *deployment, client *http.Client)) {
	natsdtest.Bubble(t, func(t *testing.T) {
		m, err := newInMemory(t.Context(), &cfg, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		err = m.serve(t.Context(), func(context.Context) error {
			client := &http.Client{Transport: &http.Transport{DialContext: m.network.dial}}
			f(t, m.deployment, client)
			nothingHeld(t, m.deployment)
			client.CloseIdleConnections()
			return nil
		})
		if err != nil {
			t.Errorf("serve = %v", err)
		}
	})
}

// onePair is one prefill and one decode engine of the profile that results are compared by, at a fixed
// split.
func onePair() Config {
	cfg := DefaultConfig()
	cfg.Up.Prefill, cfg.Up.Decode = 1, 1
	cfg.Sim.Profile = "llama-70b-h100-tp4"
	cfg.Log.Level = 8
	return splitting(cfg)
}

// longPrompt is 8192 tokens, by the simulated engine's count.
func longPrompt(i int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("x", 4*8192)) }

// The whole pipeline, with the real NATS server, in virtual time: a burst of long prompts at a
// fixed split takes minutes of the engines' time and seconds of ours.
func TestBurstOfLongPromptsInVirtualTime(t *testing.T) {
	const requests, tokens = 100, 50
	cfg := onePair()
	inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
		begun := time.Now()
		var g errgroup.Group
		for i := range requests {
			body := chatBody(cfg.Sim.Model, longPrompt(i), tokens)
			want := proof(t, body, tokens)
			g.Go(func() error {
				got, err := streamChat(t.Context(), client, base, body)
				if err == nil && got != want {
					err = fmt.Errorf("text %q, want %q", got, want)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		// One TP4 engine needs about 0.55 s for each of these prompts, and they come one after the other.
		if took := time.Since(begun); took < 30*time.Second || took > 2*time.Minute {
			t.Errorf("the burst took %v of virtual time", took)
		}
	})
}

// A request whose deadline can be met goes before those that have none; one whose deadline passes in
// the queue ends there and then.
func TestDeadlinesInAFullQueueInVirtualTime(t *testing.T) {
	const before, tokens = 20, 5 // the queue is 11 s long
	cfg := onePair()
	inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
		var g errgroup.Group
		for i := range before {
			g.Go(func() error {
				_, err := streamChat(t.Context(), client, base, chatBody(cfg.Sim.Model, longPrompt(i), tokens))
				return err
			})
		}
		synctest.Wait()
		for _, stream := range []bool{true, false} {
			for _, c := range []struct {
				limit  time.Duration
				status int
			}{{200 * time.Millisecond, http.StatusGatewayTimeout}, {2500 * time.Millisecond, http.StatusOK}} {
				begun := time.Now()
				body := chatBody(cfg.Sim.Model, longPrompt(before), tokens)
				if !stream {
					body = strings.Replace(body, `"stream":true`, `"stream":false`, 1)
				}
				status, text := ask(t, client, base+"/v1/chat/completions", body, "X-Baton-Deadline-Ms", fmt.Sprint(c.limit.Milliseconds()))
				took := time.Since(begun)
				if status != c.status || status != http.StatusOK && (!strings.HasPrefix(text, `{"error":{"message":"`) || took != c.limit) {
					t.Errorf("stream %v, within %v: after %v the answer is %d %s, want %d", stream, c.limit, took, status, text, c.status)
				}
			}
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}
