package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
	"github.com/google/go-cmp/cmp"
)

func parseBench(t *testing.T, args ...string) (*benchRun, error) {
	t.Helper()
	t.Setenv("OPENAI_API_KEY", "")
	var cmd commands
	parser, err := kong.New(&cmd, benchVars())
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"bench"}, args...))
	return &cmd.Bench.Run, err
}

func TestBenchFlags(t *testing.T) {
	b, err := parseBench(t)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(workload.Default(), b.Spec); diff != "" {
		t.Errorf("without flags the workload differs from its default (-want +got):\n%s", diff)
	}
	if _, err := parseBench(t, "--compare", "no-such-file.json", "b.json"); err == nil {
		t.Error("files that do not exist were taken")
	}
	dir := t.TempDir()
	one, two := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")
	for file, text := range map[string]string{one: `{"duration": 2}`, two: `{"duration": 1}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err = parseBench(t, "--input-len", "100", "--think=2s", "--goodput", "ttft:2000", "tpot:100.5", "--compare", one, two, "--no-ignore-eos")
	if err != nil {
		t.Fatal(err)
	}
	want := bench.SLO{TTFT: 2 * time.Second, TPOT: 100*time.Millisecond + 500*time.Microsecond}
	if b.Goodput.SLO != want || b.InputLen != 100 || b.Think != 2*time.Second || b.IgnoreEOS || len(b.Files) != 2 {
		t.Errorf("flags = %+v", b)
	}
	var out strings.Builder
	if err := b.compare(&out); err != nil || !strings.Contains(out.String(), "×0.500") {
		t.Errorf("compare: %v\n%s", err, out.String())
	}
	b.HTML = filepath.Join(dir, "r.html")
	if err := b.compare(io.Discard); err == nil || !strings.Contains(err.Error(), "--save-detailed") {
		t.Errorf("a report of files without details: %v", err)
	}
	for _, bad := range []string{"ttft", "ttft:x", "itl:5", "ttft:-1"} {
		if _, err := parseBench(t, "--goodput", bad); err == nil {
			t.Errorf("--goodput %s was taken", bad)
		}
	}
}
