package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// screen collects what people would read.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// vllmConfig is a deployment of two engines whose program is a shell script.
func vllmConfig(t *testing.T, script string) Config {
	t.Helper()
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.API.Listen = "127.0.0.1:0"
	cfg.Log.Level = 8
	cfg.Up.Engine, cfg.Up.Prefill, cfg.Up.Decode, cfg.Up.ReadyFile = engineVLLM, 1, 1, filepath.Join(dir, "ready.json")
	cfg.VLLM.Command, cfg.VLLM.Model, cfg.VLLM.Device = filepath.Join(dir, "vllm"), dir, "cpu"
	cfg.VLLM.Args = []string{"--served-model-name", "smol"}
	cfg.VLLM.LogDir = filepath.Join(dir, "logs")
	cfg.Supervise.RestartDelay = 10 * time.Millisecond
	for name, text := range map[string]string{"vllm": "#!/bin/sh\n" + script + "\n", "config.json": "{}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// within asks again and again until ask says that it is so.
func within(t *testing.T, what string, ask func() bool) {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

func TestUpWithVLLM(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := vllmConfig(t, fmt.Sprintf("exec %q %s \"$@\"", self, fakeVLLM))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen screen
	ended := make(chan error, 1)
	go func() { ended <- RunUp(ctx, &cfg, &seen, t.Output()) }()

	var ready readiness
	within(t, "ready", func() bool {
		text, err := os.ReadFile(cfg.Up.ReadyFile)
		return err == nil && json.Unmarshal(text, &ready) == nil
	})
	if ready.Model != "smol" || len(ready.Engines) != 2 || ready.Engines[0].Name != "prefill-0" || ready.Engines[1].Role != "decode" {
		t.Errorf("ready file: %+v", ready)
	}
	for _, want := range []string{"prefill-0         0s  starting\n", "loading weights\n", "smol (vLLM on cpu)", ready.Engines[0].URL, `"model": "smol"`} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("screen lacks %q:\n%s", want, &seen)
		}
	}
	chat := func() error {
		body := chatBody("smol", "hello", 5)
		got, err := streamChat(t.Context(), http.DefaultClient, ready.URL, body)
		if want := proof(t, body, 5); err == nil && got != want {
			err = fmt.Errorf("text %q, want %q", got, want)
		}
		return err
	}
	defer http.DefaultClient.CloseIdleConnections()
	if err := chat(); err != nil {
		t.Error(err)
	}

	engine := func() (starts int, last int) { return started(cfg.VLLM.LogDir, "decode-0") }
	_, pid := engine()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, "the engine is started again", func() bool { starts, _ := engine(); return starts == 2 })
	within(t, "ready again", func() bool {
		resp, err := http.Get(ready.URL + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
	if err := chat(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if !strings.Contains(seen.String(), "decode-0: signal: killed") {
		t.Errorf("screen does not tell of the end of decode-0:\n%s", &seen)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("RunUp = %v", err)
	}
	for _, name := range []string{"prefill-0", "decode-0"} {
		if _, pid := started(cfg.VLLM.LogDir, name); syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d of %s is left", pid, name)
		}
	}
	if _, err := os.Stat(cfg.Up.ReadyFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ready file after the end: %v", err)
	}
}

// started reads from an engine's log how often it was started, and its latest process.
func started(dir, name string) (starts, pid int) {
	text, _ := os.ReadFile(filepath.Join(dir, name+".log"))
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "pid "); ok {
			starts++
			pid, _ = strconv.Atoi(strings.TrimSpace(number))
		}
	}
	return starts, pid
}

// An engine that cannot start ends everything, with its own words and advice, and not with a loop.
func TestUpWithAVLLMThatFails(t *testing.T) {
	cfg := vllmConfig(t, `case "$*" in *kv_producer*) echo "vllm serve: error: unrecognized arguments: --x"; exit 2;; esac; exec sleep 1000`)
	err := RunUp(t.Context(), &cfg, io.Discard, t.Output())
	for _, want := range []string{"prefill-0: it ended before it was ready: exit status 2", "cause: vllm serve: error: unrecognized", "what to do:", "vllm.args"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("RunUp = %v, want %q in it", err, want)
		}
	}
}

func TestUpOnABusyPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := vllmConfig(t, "exit 1")
	cfg.API.Listen = ln.Addr().String()
	if err := RunUp(t.Context(), &cfg, io.Discard, t.Output()); err == nil || !strings.Contains(err.Error(), "api.listen") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("RunUp = %v", err)
	}
}
