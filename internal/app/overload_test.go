package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
)

// More bodies come than the frontend may hold. It takes what fits into its bound, answers all of that, and
// sends the others away with the time when there will be room, as its own work tells.
func TestBodiesBeyondTheBoundAreSentAwayInVirtualTime(t *testing.T) {
	const requests, size, fits, tokens = 60, 64 << 10, 20, 2
	cfg := onePair()
	cfg.Router.All.Bytes = fits*(size+1<<10) - 1
	inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
		prompt := func(i int) string { return fmt.Sprintf("%5d %s", i, strings.Repeat("x", size)) }
		try := func(i int) (refusable, error) {
			return tryOnce(t, client, base, chatBody(cfg.Sim.Model, prompt(i), tokens))
		}
		// What there is to measure: one prompt after the other.
		for i := range 3 {
			if r, err := try(requests + i); err != nil || r.status != http.StatusOK {
				t.Fatalf("the first answers are %d %s, %v", r.status, r.text, err)
			}
		}
		results := make([]refusable, requests)
		var g errgroup.Group
		for i := range results {
			g.Go(func() (err error) {
				results[i], err = try(i)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		served := 0
		for i, r := range results {
			switch r.status {
			case http.StatusOK:
				served++
			case http.StatusTooManyRequests:
				seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
				if err != nil || seconds < 1 || r.took > time.Second {
					t.Errorf("request %d: sent away after %v with Retry-After %q", i, r.took, r.header.Get("Retry-After"))
				}
			default:
				t.Errorf("request %d: %d %s", i, r.status, r.text)
			}
		}
		if served != fits {
			t.Errorf("%d of %d are served, want the %d that fit", served, requests, fits)
		}
	})
}

// A frontend that is full for a minute sends clients away with the time at which their turn comes at the rate
// at which its requests really end.
func TestRetryAfterIsWhatTheEnginesTakeInVirtualTime(t *testing.T) {
	const inside, tokens, minute, away = 8, 2, 60, 20
	cfg := onePair()
	cfg.Router.All.Requests = inside
	inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
		var ended atomic.Int64
		over := make(chan struct{})
		var g errgroup.Group
		for i := range inside { // each sends its next prompt when it has its answer
			g.Go(func() error {
				for n := 0; ; n++ {
					select {
					case <-over:
						return nil
					default:
					}
					r, err := tryOnce(t, client, base, chatBody(cfg.Sim.Model, longPrompt(1000*i+n), tokens))
					if err != nil || r.status != http.StatusOK {
						return fmt.Errorf("a client of those inside: %d %s, %w", r.status, r.text, err)
					}
					ended.Add(1)
				}
			})
		}
		time.Sleep(minute * time.Second)
		rate := float64(ended.Load()) / minute
		for i := range away {
			r, err := tryOnce(t, client, base, chatBody(cfg.Sim.Model, longPrompt(100_000+i), tokens))
			if err != nil || r.status != http.StatusTooManyRequests {
				t.Fatalf("request %d beyond the bound: %d %s, %v", i, r.status, r.text, err)
			}
			said, err := strconv.Atoi(r.header.Get("Retry-After"))
			turn := float64(i+1) / rate
			if err != nil || float64(said) < 0.9*turn || float64(said) > 1.1*turn+1 { // it is rounded up
				t.Errorf("number %d in line is told to come again after %q s; at %.2f requests a second its turn comes after %.1f s", i+1, r.header.Get("Retry-After"), rate, turn)
			}
		}
		t.Logf("%.2f requests end a second, and the last of %d is told to come again after their %.1f s", rate, away, away/rate)
		close(over)
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// One tenant sends thousands of prompts at once, another one a second: the second is served as if it were
// alone, but for what is being computed when it comes.
func TestFloodOfOneTenantDoesNotDelayAnotherInVirtualTime(t *testing.T) {
	const flood, calm, tokens = 2000, 20, 5
	cfg := onePair()
	cfg.API.Auth.KeysFile = t.TempDir() + "/keys.yaml"
	many, few := newKey(t, cfg.API.Auth.KeysFile, "many"), newKey(t, cfg.API.Auth.KeysFile, "few")
	inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
		as := func(key string) *http.Client { return &http.Client{Transport: bearer{key, client.Transport}} }
		body := func(i int) string {
			return chatBody(cfg.Sim.Model, fmt.Sprintf("%d %s", i, strings.Repeat("x", 4*2048)), tokens)
		}
		one := func(ctx context.Context, c *http.Client, i int) (time.Duration, error) {
			begun := time.Now()
			resp, err := post(ctx, c, base+"/v1/chat/completions", body(i))
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			ttft := time.Since(begun) // the header comes with the first event
			_, err = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
			return ttft, err
		}
		each := func(from int) (times []time.Duration) {
			for i := range calm {
				begun := time.Now()
				ttft, err := one(t.Context(), as(few), from+i)
				if err != nil {
					t.Fatal(err)
				}
				times = append(times, ttft)
				time.Sleep(time.Second - time.Since(begun))
			}
			slices.Sort(times)
			return times
		}
		alone := each(0)
		ctx, leave := context.WithCancel(t.Context())
		var g errgroup.Group
		for i := range flood {
			g.Go(func() error {
				_, err := one(ctx, as(many), 1000+i)
				if ctx.Err() != nil {
					return nil
				}
				return err
			})
		}
		synctest.Wait()
		time.Sleep(5 * time.Second)
		beside := each(100_000)
		leave()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		t.Logf("first token alone %v; beside the flood p50 %v, worst %v", alone[calm/2], beside[calm/2], beside[calm-1])
		if beside[calm-1] > 2*alone[calm/2] {
			t.Errorf("the first token takes %v beside the flood, %v alone: more than what is being computed", beside[calm-1], alone[calm/2])
		}
	})
}
