package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/router/schedule"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestMain(m *testing.M) {
	if status, ok := beside(os.Args); ok {
		os.Exit(status)
	}
	release := natsd.HoldClock()
	defer release()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// quick is a small deployment whose engines run at many times their speed.
func quick() Config {
	cfg := DefaultConfig()
	cfg.Up = Up{Prefill: 2, Decode: 2}
	cfg.API.Listen = "127.0.0.1:0"
	cfg.Sim.TimeScale = 50
	cfg.Log.Level = 8 // errors only
	return cfg
}

// startUp runs `baton up` and returns its base URL and the deployment.
func startUp(t testing.TB, cfg Config) (string, *deployment) {
	t.Helper()
	return startUpOn(t, cfg, network{listen: net.Listen})
}

func startUpOn(t testing.TB, cfg Config, on network) (string, *deployment) {
	t.Helper()
	return startUpLogging(t, cfg, on, t.Output())
}

func startUpLogging(t testing.TB, cfg Config, on network, logs io.Writer) (string, *deployment) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d, err := newDeploymentOn(ctx, &cfg, logs, on)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.listenAdmin(ctx); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", cfg.API.Listen)
	if err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- d.run(ctx, ln, func() { close(ready) }) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		begun := time.Now()
		if err := <-ended; err != nil {
			t.Errorf("run = %v", err)
		}
		d.close()
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("stop took %v", took)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("run ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready after 30 s")
	}
	return "http://" + ln.Addr().String(), d
}

func post(ctx context.Context, client *http.Client, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return client.Do(req)
}

// streamChat returns the text of a streamed chat answer and the number of events with text.
func streamChat(ctx context.Context, client *http.Client, base, body string) (text string, err error) {
	resp, err := post(ctx, client, base+"/v1/chat/completions", body)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		return "", fmt.Errorf("status %d: %s", resp.StatusCode, b)
	}
	var all strings.Builder
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			return all.String(), nil
		}
		var chunk struct {
			Choices []struct {
				Delta struct{ Content string }
			}
			Error json.RawMessage
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return "", fmt.Errorf("event %s: %w", data, err)
		}
		if chunk.Error != nil {
			return "", fmt.Errorf("error event %s", chunk.Error)
		}
		for _, c := range chunk.Choices {
			all.WriteString(c.Delta.Content)
		}
	}
	return "", errors.Join(errors.New("stream ended without [DONE]"), lines.Err())
}

func chatBody(model, prompt string, tokens int) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"max_tokens":%d,"ignore_eos":true,"stream":true}`, model, prompt, tokens)
}

// proof is what an undisturbed engine answers to body.
func proof(t *testing.T, body string, tokens int) string {
	t.Helper()
	digest, err := enginesim.Digest("/v1/chat/completions", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return enginesim.Proof(digest, tokens)
}

// splitting has every request split that can be.
func splitting(cfg Config) Config {
	cfg.Schedule.Mode, cfg.Schedule.ShortPrompt = schedule.Split, 0
	return cfg
}

// words is a prompt of n tokens and some, by the simulated engine's count.
func words(n int) string { return strings.Repeat("why ", n) }

// Whatever way a request takes, its text proves that its own prompt was computed, and handed over where
// it was.
func TestManyStreamsProveTheirPath(t *testing.T) {
	elastic, aggregated := quick(), quick()
	elastic.Sim.TimeScale = 20
	aggregated.Schedule.Mode = schedule.Aggregated
	aggregated.Up = Up{Both: 3}
	for name, c := range map[string]struct {
		cfg     Config
		streams int
		places  []string // that are taken
	}{
		"elastic":    {elastic, 500, []string{"split", "whole"}},
		"split":      {splitting(quick()), 200, []string{"split"}},
		"aggregated": {aggregated, 200, []string{"whole"}},
	} {
		t.Run(name, func(t *testing.T) {
			base, d := startUp(t, c.cfg)
			const tokens = 20
			var g errgroup.Group
			for i := range c.streams {
				length := i % 50
				if i%4 == 0 {
					length = 600 + 3*i
				}
				body := chatBody(c.cfg.Sim.Model, fmt.Sprintf("question %d: %s", i, words(length)), tokens)
				want := proof(t, body, tokens)
				g.Go(func() error {
					got, err := streamChat(t.Context(), http.DefaultClient, base, body)
					if err == nil && got != want {
						err = fmt.Errorf("text %q, want %q", got, want)
					}
					if err != nil {
						return fmt.Errorf("stream %d: %w", i, err)
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			nothingHeld(t, d)
			for _, place := range []string{"split", "whole"} {
				n := metric(t, d.proc.reg, "baton_dispatch_assigned_total", place)
				if want := slices.Contains(c.places, place); n > 0 != want {
					t.Errorf("%v requests were placed %s, want some: %v", n, place, want)
				}
			}
		})
	}
}

// nothingHeld waits until no engine runs anything, no KV block is pinned for a reader, no ledger has an
// open handle, no job is queued and no dispatcher holds one. The ledgers are those of d's process, or of
// others with registries of their own.
func nothingHeld(t *testing.T, d *deployment, others ...*prometheus.Registry) {
	t.Helper()
	deadline := time.NewTimer(45 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		held := ""
		for _, s := range d.engines {
			if st := s.engine.Stats(); st.Running+st.Waiting+st.PinnedBlocks > 0 {
				held += fmt.Sprintf("%s: %+v\n", s.worker, st)
			}
		}
		for _, reg := range append(others, d.proc.reg) {
			if open := metric(t, reg, "baton_kv_handles_open", ""); open > 0 {
				held += fmt.Sprintf("ledgers: %v handles open\n", open)
			}
		}
		if n := metric(t, d.proc.reg, "baton_dispatch_held_jobs", ""); n != 0 {
			held += fmt.Sprintf("the dispatcher holds %v jobs\n", n)
		}
		for name, stats := range map[string]func(context.Context) (bus.Depth, error){"prefill": d.proc.bus.Prefill().Stats, "decode": d.proc.bus.Decode().Stats} {
			if depth, err := stats(t.Context()); err != nil || depth.Messages > 0 {
				held += fmt.Sprintf("%s queue: %d jobs, %v\n", name, depth.Messages, err)
			}
		}
		if held == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("still held:\n%s", held)
		}
	}
}

func TestClientsThatLeaveFreeEverything(t *testing.T) {
	cfg := splitting(quick())
	cfg.Sim.TimeScale = 1
	cfg.Sim.Lease, cfg.Prefill.Lease = 8*time.Second, 8*time.Second
	base, d := startUp(t, cfg)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20*i)*time.Millisecond)
			defer cancel()
			_, err := streamChat(ctx, http.DefaultClient, base, chatBody(cfg.Sim.Model, strings.Repeat(fmt.Sprint(i), 2000), 500))
			if err == nil {
				t.Errorf("request %d ended before its client left", i)
			}
		})
	}
	wg.Wait()
	nothingHeld(t, d)
	// An abort that crosses the engine's answer leaves blocks whose handle nobody has ever seen;
	// only the end of the lease frees those. No handle that baton has seen may end so.
	if n := metric(t, d.proc.reg, "baton_kv_handles_ended_total", "expired"); n > 0 {
		t.Errorf("%v handles expired although somebody knew them", n)
	}
}

// metric sums a counter or gauge; label selects one label value unless it is empty.
func metric(t *testing.T, reg *prometheus.Registry, name, label string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			match := label == ""
			for _, l := range m.GetLabel() {
				match = match || l.GetValue() == label
			}
			if match && family.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestUnaryAnswerAndWholeRequests(t *testing.T) {
	cfg := splitting(quick())
	base, _ := startUp(t, cfg)
	for name, body := range map[string]string{
		"split":       `{"model":%q,"messages":[{"role":"user","content":"hello"}],"max_tokens":5,"ignore_eos":true}`,
		"two choices": `{"model":%q,"messages":[{"role":"user","content":"hello"}],"max_tokens":5,"ignore_eos":true,"n":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(body, cfg.Sim.Model)
			resp, err := post(t.Context(), http.DefaultClient, base+"/v1/chat/completions", body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var answer struct {
				Choices []struct{ Message struct{ Content string } }
				Usage   struct {
					CompletionTokens int `json:"completion_tokens"`
				}
			}
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d, %v", resp.StatusCode, err)
			}
			if want := proof(t, body, 5); answer.Choices[0].Message.Content != want {
				t.Errorf("text %q, want %q", answer.Choices[0].Message.Content, want)
			}
			if want := 5 * len(answer.Choices); answer.Usage.CompletionTokens != want {
				t.Errorf("completion_tokens = %d, want %d", answer.Usage.CompletionTokens, want)
			}
		})
	}
}

// A body may travel in its job, wait at the frontend for whoever runs the job, or be stored.
func TestBodiesOfAnySizeArrive(t *testing.T) {
	elastic := quick()
	for name, cfg := range map[string]Config{"elastic": elastic, "split": splitting(quick())} {
		cfg.Sim.MaxModelLen = 1 << 20
		base, d := startUp(t, cfg)
		for what, size := range map[string]int{"inline": 100, "asked for": 100_000, "stored": 1_600_000} {
			t.Run(name+" "+what, func(t *testing.T) {
				body := chatBody(cfg.Sim.Model, strings.Repeat("0123456789abcdef", size/16), 3)
				got, err := streamChat(t.Context(), http.DefaultClient, base, body)
				if err != nil {
					t.Fatal(err)
				}
				if want := proof(t, body, 3); got != want {
					t.Errorf("text %q, want %q", got, want)
				}
			})
		}
		nothingHeld(t, d)
	}
}

func TestReadyWithAnyWorkersThatTogetherDoAll(t *testing.T) {
	for name, up := range map[string]Up{"pair": {Prefill: 1, Decode: 1}, "both": {Both: 1}} {
		t.Run(name, func(t *testing.T) {
			cfg := quick()
			cfg.Up = up
			base, _ := startUp(t, cfg)
			resp, err := http.Get(base + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("GET /readyz = %d", resp.StatusCode)
			}
			body := chatBody(cfg.Sim.Model, words(1000), 5)
			got, err := streamChat(t.Context(), http.DefaultClient, base, body)
			if want := proof(t, body, 5); err != nil || got != want {
				t.Errorf("text %q, %v, want %q", got, err, want)
			}
		})
	}
}
