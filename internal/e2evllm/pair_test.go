//go:build e2e

package e2evllm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	model     = "smol"
	startTime = 15 * time.Minute // of two engines on two busy cores
	lease     = 30 * time.Second // prefill.lease, its default
	// freeTime is how long engines may hold what nobody wants any more: a batch of 512 tokens takes seconds.
	freeTime = 25 * time.Second
)

// pair is a prefill and a decode engine with baton in front of them.
type pair struct {
	URL     string    `json:"url"`
	Engines []*engine `json:"engines"`
	up      *process
	prefill *engine
	decode  *engine
	asked   int // references so far
}

// startPair runs baton up. Batches are short, so that an engine can drop a request within seconds.
func startPair(t *testing.T) *pair {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "ready.json")
	port := 20000 + os.Getpid()%10000 // another run at the same time shall have others
	begun := time.Now()
	p := &pair{up: start(
		t, "up", "up", "--engine", "vllm", "--device", "cpu", "--prefill", "1", "--decode", "1",
		"--model", filepath.Join(environment, "model"), "--vllm.command", vllmCommand, "--listen", "127.0.0.1:0",
		"--vllm.port", fmt.Sprint(port), "--vllm.side_port", fmt.Sprint(port+1000), "--vllm.log_dir", dir, "--up.ready_file", file,
		"--up.prefill_batch", "512", "--up.decode_batch", "512", "--up.decode_chunk", "384", "--schedule.mode", "split", "--schedule.short_prompt", "0",
		"--prefill.lease", lease.String(), "--", "--served-model-name", model, "--max-model-len", "4096",
	)}
	await(t, startTime, "both engines are ready", func() bool {
		if p.up.ended() {
			t.Fatalf("baton up has ended: %v; its last lines:\n%s", p.up.err, tail(p.up.log))
		}
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, p) == nil
	})
	for _, e := range p.Engines {
		e.log = filepath.Join(dir, e.Name+".log")
		switch e.Role {
		case "prefill":
			p.prefill = e
		case "decode":
			p.decode = e
		}
	}
	if p.prefill == nil || p.decode == nil {
		t.Fatalf("the ready file lists no pair: %+v", p)
	}
	t.Logf("both engines ready after %.0fs, %d MiB of memory in all", time.Since(begun).Seconds(), memory(p.up.cmd.Process.Pid))
	return p
}

// stop ends the deployment and all that is below it.
func (p *pair) stop(t *testing.T) {
	t.Helper()
	left := below(p.up.cmd.Process.Pid)
	t.Logf("%d MiB of memory in all at the end", memory(p.up.cmd.Process.Pid))
	begun := time.Now()
	p.up.stop(t)
	t.Logf("ended within %.0fs of SIGTERM", time.Since(begun).Seconds())
	for _, was := range left {
		for _, now := range processes() {
			if now.pid == was.pid && now.command == was.command {
				t.Errorf("process %d outlives baton up: %s", was.pid, was.command)
			}
		}
	}
}

// reference is the answer of one engine alone: the prefill engine, which never reads a KV cache of another.
// The salt keeps it from reusing what it computed for baton.
func (p *pair) reference(t *testing.T, a ask) answer {
	t.Helper()
	p.asked++
	a.body = a.body.with("cache_salt", fmt.Sprintf("reference-%d", p.asked))
	return posted(t, p.prefill.URL, a)
}

// check runs one case, and shows the engines' last lines if it fails.
func (p *pair) check(t *testing.T, c testCase) {
	t.Run(c.name, func(t *testing.T) {
		begun := time.Now()
		t.Cleanup(func() {
			t.Logf("took %.0fs", time.Since(begun).Seconds())
			if !t.Failed() {
				return
			}
			for _, e := range p.Engines {
				t.Logf("the last lines of %s:\n%s", e.Name, tail(e.log))
			}
			t.Logf("the last lines of baton up:\n%s", tail(p.up.log))
		})
		c.run(t, p)
	})
}

// sentence repeats a text with numbers from 0 to n-1 put in for %d.
func sentence(format string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "%d", fmt.Sprint(i)))
	}
	return b.String()
}
