//go:build e2e

package e2evllm

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// engine is one vLLM of the deployment.
type engine struct {
	Name   string `json:"name"`
	Role   string `json:"role"`
	Worker string `json:"worker"`
	URL    string `json:"url"`
	log    string // file
}

// Names of vLLM's metrics.
const (
	running  = "vllm:num_requests_running"
	waiting  = "vllm:num_requests_waiting"
	kvUsage  = "vllm:kv_cache_usage_perc"
	expired  = "vllm:nixl_num_kv_expired_reqs_total"
	failures = "vllm:nixl_num_failed_transfers_total"
	late     = "vllm:nixl_num_notifications_after_expiry_total"
	moved    = "vllm:nixl_bytes_transferred_sum"
	moves    = "vllm:nixl_bytes_transferred_count"
	prompts  = "vllm:prompt_tokens_total"
	external = `vllm:prompt_tokens_by_source_total{source="external_kv_transfer"}`
	local    = `vllm:prompt_tokens_by_source_total{source="local_cache_hit"}`
)

// metrics are the samples that a process exports, by name; those of the same name are added up. A sample
// with a label source or end is also there under its name with that label alone.
type metrics map[string]float64

func readMetrics(ctx context.Context, base string) (metrics, error) {
	text, err := get(ctx, base+"/metrics")
	if err != nil {
		return nil, err
	}
	m := metrics{}
	for line := range strings.Lines(text) {
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[space:]), 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(line[:space], "{")
		m[name] += value
		for _, label := range strings.Split(strings.TrimSuffix(labels, "}"), ",") {
			if key, _, _ := strings.Cut(label, "="); key == "source" || key == "end" || key == "outcome" {
				m[name+"{"+label+"}"] += value
			}
		}
	}
	return m, nil
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // an engine in the midst of a long batch is slow to answer
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, text)
	}
	return string(text), err
}

// metrics of an engine that must answer.
func (e *engine) metrics(t *testing.T) metrics {
	t.Helper()
	m, err := readMetrics(t.Context(), e.URL)
	if err != nil {
		t.Fatalf("%s: %v; its last lines:\n%s", e.Name, err, tail(e.log))
	}
	return m
}

// idle tells whether an engine that counted these has nothing to do and holds no block for anybody.
func (m metrics) idle() bool { return m[running] == 0 && m[waiting] == 0 && m[kvUsage] == 0 }

// awaitIdle waits until the engine holds nothing for anybody, and returns what it then counts.
func (e *engine) awaitIdle(t *testing.T, bound time.Duration) (m metrics) {
	t.Helper()
	begun := time.Now()
	await(t, bound, e.Name+" holds no block and runs nothing", func() bool {
		m = e.metrics(t)
		return m.idle()
	})
	t.Logf("%s: idle, no KV block held, after %.1fs", e.Name, time.Since(begun).Seconds())
	return m
}

// kill ends the engine's processes at once, as the loss of its machine would.
func (e *engine) kill(t *testing.T, up *process) {
	t.Helper()
	_, port, _ := strings.Cut(strings.TrimPrefix(e.URL, "http://"), ":")
	for _, p := range below(up.cmd.Process.Pid) {
		if !strings.Contains(p.command, "--port "+port+" ") || strings.Contains(p.command, "keep-engine") {
			continue
		}
		tree := below(p.pid)
		for _, victim := range tree {
			_ = syscall.Kill(victim.pid, syscall.SIGKILL)
		}
		t.Logf("%s: %d processes killed", e.Name, len(tree))
		return
	}
	t.Fatalf("%s: no process serves port %s", e.Name, port)
}

// await asks again and again until ask says that it is so.
func await(t *testing.T, bound time.Duration, what string, ask func() bool) {
	t.Helper()
	over := time.NewTimer(bound)
	defer over.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-over.C:
			t.Fatalf("after %v still not: %s", bound, what)
		}
	}
}
