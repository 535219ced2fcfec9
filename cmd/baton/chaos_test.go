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
	if runtime.GOOS != "linux" {
		t.Skip("baton chaos runs on Linux alone")
	}
	report, err := chaos.Run(t.Context(), chaos.Config{
		Seed: 7, Duration: 30 * time.Second, Every: time.Second, Clients: 8, Frontends: 2, Prefill: 2, Decode: 2, Storage: "file",
		Strict: false, Patience: time.Minute, Dir: t.TempDir(), Binary: os.Args[0],
	}, func(line string) { t.Log(line) })
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
