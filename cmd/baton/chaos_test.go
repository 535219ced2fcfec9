package main

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/chaos"
)

// TestMain lets this test program be baton for the processes that a test starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"nats", "engine", "prefill", "decode", "frontend"}, os.Args[1]) {
		main()
		return
	}
	os.Exit(m.Run())
}

// The short run of `baton chaos`: a deployment of processes, with the race detector in all of them, that is broken in
// every way within half a minute.
func TestChaos(t *testing.T) {
	runChaos(t, chaos.Config{Scenario: chaos.Random, Seed: 7, Duration: 30 * time.Second, Every: time.Second, Clients: 8})
}

// Every process is restarted in turn, and no request fails.
func TestRollingRestart(t *testing.T) {
	runChaos(t, chaos.Config{Scenario: chaos.Rolling, Seed: 1, Duration: time.Second, Clients: 8})
}

// All streams of a decode worker that is killed go on elsewhere, to the word.
func TestDecodeWorkerIsKilledWithManyStreams(t *testing.T) {
	runChaos(t, chaos.Config{Scenario: chaos.DecodeKill, Seed: 1, Duration: time.Second, Clients: 24})
}

// runChaos fails if the promise is broken, or nothing was done that could have broken it.
func runChaos(t *testing.T, cfg chaos.Config) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("baton chaos runs on Linux alone")
	}
	cfg.Frontends, cfg.Prefill, cfg.Decode, cfg.Storage = 2, 2, 2, "file"
	cfg.Every, cfg.Strict, cfg.Patience = max(cfg.Every, time.Second), true, time.Minute
	cfg.Dir, cfg.Binary = t.TempDir(), os.Args[0]
	report, err := chaos.Run(t.Context(), cfg, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.Print(&text); err != nil {
		t.Error(err)
	}
	t.Log(text.String())
	if !report.Kept() || report.Whole == 0 || len(report.Faults) == 0 {
		t.Error("the promise was broken")
	}
}
