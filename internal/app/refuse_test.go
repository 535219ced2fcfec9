package app

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// A burst that takes one pair 22 seconds, where first tokens are promised within five: who can be in
// time is, all others are told so within the promise and when to come again, and who
// does so is served.
func TestLateRequestsAreRefusedInVirtualTime(t *testing.T) {
	const requests, tokens = 40, 5
	for name, stream := range map[string]bool{"stream": true, "unary": false} {
		t.Run(name, func(t *testing.T) {
			cfg := onePair()
			cfg.Schedule.SLO.TTFT, cfg.Schedule.RejectLate = 5*time.Second, true
			inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
				// What engines need is learned; nobody knows it before the first prompt.
				if status, text := ask(t, client, base+"/v1/chat/completions", chatBody(cfg.Sim.Model, longPrompt(0), tokens)); status != http.StatusOK {
					t.Fatalf("the first answer is %d %s", status, text)
				}
				results, again := make([]refusable, requests), make([]refusable, requests)
				var g errgroup.Group
				for i := range results {
					body := chatBody(cfg.Sim.Model, longPrompt(i+1), tokens)
					if !stream {
						body = strings.Replace(body, `"stream":true`, `"stream":false`, 1)
					}
					g.Go(func() (err error) {
						if results[i], err = tryOnce(t, client, base, body); err != nil || results[i].status == http.StatusOK {
							return err
						}
						time.Sleep(time.Duration(results[i].check(t)) * time.Second)
						again[i], err = tryOnce(t, client, base, body)
						return err
					})
				}
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
				served, last, late := 0, 0, 0
				for i, r := range results {
					switch r.status {
					case http.StatusOK:
						served++
					case http.StatusTooManyRequests:
						last = max(last, r.check(t))
						if again[i].status != http.StatusOK {
							late++
						}
					default:
						t.Errorf("request %d: %d %s", i, r.status, r.text)
					}
					if r.took > cfg.Schedule.SLO.TTFT+time.Second {
						t.Errorf("request %d: %d after %v", i, r.status, r.took)
					}
				}
				if served < 6 || served > 9 {
					t.Errorf("%d of %d are served within %v, want 6 to 9", served, requests, cfg.Schedule.SLO.TTFT)
				}
				if late > 0 {
					t.Errorf("%d that came again when they were told to are refused once more", late)
				}
				if last < 10 || last > 25 {
					t.Errorf("the last may come again after %d s, want about as long as all of them take", last)
				}
			})
		})
	}
}

// refusable is what a client got and when its answer began.
type refusable struct {
	status int
	header http.Header
	text   string
	took   time.Duration
}

func tryOnce(t *testing.T, client *http.Client, base, body string) (r refusable, err error) {
	begun := time.Now()
	resp, err := post(t.Context(), client, base+"/v1/chat/completions", body)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	r = refusable{status: resp.StatusCode, header: resp.Header, took: time.Since(begun)}
	text, err := io.ReadAll(resp.Body)
	r.text = string(text)
	return r, err
}

// check looks at a refusal and returns after how many seconds it says to come again.
func (r *refusable) check(t *testing.T) int {
	t.Helper()
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 60 || r.header.Get("Retry-After-Ms") == "" || r.header.Get("X-Should-Retry") == "false" {
		t.Errorf("headers %v do not say to come again", r.header)
	}
	if !strings.HasPrefix(r.text, `{"error":{"message":"Too much waits before`) || !strings.Contains(r.text, `"type":"RateLimitError"`) {
		t.Errorf("refused with %s", r.text)
	}
	return seconds
}
