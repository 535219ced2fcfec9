package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/peers/stub"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	release := natsd.HoldClock()
	defer release()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// background runs f until the test ends.
func background(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
}

// engine runs one stub and returns its address.
func engine(t *testing.T, prefill bool) string {
	t.Helper()
	ln := listen(t)
	addr := ln.Addr().(*net.TCPAddr)
	e := &stub.Engine{Prefill: prefill, Host: addr.IP.String(), Port: addr.Port}
	background(t, func(ctx context.Context) error { return e.Serve(ctx, ln) })
	return ln.Addr().String()
}

// The whole way at its smallest: two stub engines, baton in front of them, two loads.
func TestBatonIsMeasured(t *testing.T) {
	cfg := app.DefaultConfig()
	cfg.Up.Engine = "external"
	decode := engine(t, false)
	cfg.Up.PrefillURLs, cfg.Up.DecodeURLs = []string{"http://" + engine(t, true)}, []string{"http://" + decode}
	cfg.Up.ReadyFile = filepath.Join(t.TempDir(), "ready")
	cfg.API.Listen, cfg.Schedule.Mode, cfg.Schedule.ShortPrompt, cfg.Log.Level = "127.0.0.1:0", "split", 0, 8
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return app.RunUp(ctx, &cfg, io.Discard, t.Output()) })
	url := ready(t, cfg.Up.ReadyFile)

	routers := []*router{{name: direct, addr: decode}, {name: "baton", addr: strings.Replace(strings.TrimPrefix(url, "http://"), "localhost", "127.0.0.1", 1)}}
	loads := []cell{{Name: "c1", Conns: 2, Tokens: 64, Prompt: 200}, {Name: "streams", Conns: 20, Tokens: 5, Pace: time.Millisecond, Prompt: 200, Once: true}}
	samples, err := rounds(t.Context(), routers, loads, 1, 100*time.Millisecond, "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != len(routers)*len(loads) {
		t.Errorf("%d samples of %d routers and %d loads", len(samples), len(routers), len(loads))
	}
	for _, s := range samples {
		if s.Requests == 0 || s.Failed > 0 || s.TTFT50 <= 0 {
			t.Errorf("%s", &s)
		}
	}
}

func ready(t *testing.T, file string) string {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		var r struct{ URL string }
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &r) == nil {
			return r.URL
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("baton is not ready after 30 s")
		}
	}
}

func TestTables(t *testing.T) {
	r := report{conditions: conditions{Date: time.Now(), Absent: []absent{{"third", "it cannot be had"}}}, Cells: cells(true), Routers: []about{{Name: direct}, {Name: "baton"}, {Name: "other", Version: "1.2"}}}
	for round, n := range []time.Duration{3, 1, 2} {
		for i, a := range r.Routers {
			r.Samples = append(r.Samples, sample{
				Router: a.Name, Cell: "c32", Round: round, Requests: 1000, Tokens: 64000, Wall: time.Second, CPU: map[string]time.Duration{frontend: n * time.Duration(i) * 100 * time.Millisecond},
			})
		}
	}
	apart := about{Name: "apart"}
	r.Routers = append(r.Routers, apart)
	for _, name := range []string{direct, apart.Name} {
		r.Samples = append(r.Samples, sample{
			Router: name, Cell: "streams", Requests: 1, Tokens: 1, Wall: time.Second,
			CPU: map[string]time.Duration{frontend: 5 * time.Microsecond, "nats": time.Microsecond}, Peak: map[string]int64{frontend: 70 << 20, "nats": 30 << 20},
		})
	}
	var text strings.Builder
	r.markdown(&text)
	for _, want := range []string{
		"| apart | 6.0 | 5.0 | 0.0 | 100 | 70 | 0 |  |", "| baton |  | 0.20 (0.10–0.30) |", "| other 1.2 |  | 0.40 (0.20–0.60) |", "| direct |  |  |", "third was left out: it cannot be had",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	text.Reset()
	r.plot(&text)
	if got := strings.Count(text.String(), "<rect"); got != 4 { // the ground, and a bar for each router but direct
		t.Errorf("%d rectangles, want 4 in\n%s", got, &text)
	}
}

func TestOneProcessIsMeasuredWithWhatIsBelowIt(t *testing.T) {
	u, err := measure(os.Getpid())
	if err != nil || u.peak < 1<<20 {
		t.Errorf("measure of this process = %+v, %v", u, err)
	}
	if _, err := measure(1 << 30); err == nil {
		t.Error("a process that is not there has a usage")
	}
}
