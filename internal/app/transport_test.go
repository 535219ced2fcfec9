package app

import (
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Whatever headers a client sends, an engine sees baton's own, and the client's trace.
func TestNoHeaderOfAClientReachesAnEngine(t *testing.T) {
	const trace = "0af7651916cd43dd8448eb211c80319c"
	cfg := splitting(quick())
	engines := &recorder{}
	base, _ := startUpOn(t, cfg, network{listen: net.Listen, dial: engines.dial})
	own := []string{"Accept", "Content-Length", "Content-Type", "Traceparent", "User-Agent", "X-Request-Id"}
	for name, body := range map[string]string{
		"split": chatBody(cfg.Sim.Model, "hello", 3),
		"whole": strings.Replace(chatBody(cfg.Sim.Model, "hello", 3), "{", `{"n":2,`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			before := len(engines.posted())
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/chat/completions?priority=1", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{
				"Content-Type": {"application/json; charset=utf-8"}, "Traceparent": {"00-" + trace + "-b7ad6b7169203331-01"}, "Tracestate": {"vendor=value"},
				"X-Request-Id": {"mine"}, "X-Vllm-Priority": {"-100"}, "X-Session-Id": {"s"}, "X-Data-Parallel-Rank": {"0"}, "Endpoint-Load-Metrics-Format": {"json"},
				"Authorization": {"Bearer secret"}, "Cookie": {"a=b"}, "X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=10.0.0.1"}, "Accept": {"application/x"},
				"X-Prefiller-Host-Port": {"10.0.0.1:1"}, "X-Kv-Transfer-Params": {"{}"}, "Kv-Transfer-Params": {"{}"}, "X-Baton-Class": {"batch"}, "X-Baton-Other": {"a"},
				"Connection": {"X-Hop"}, "X-Hop": {"a"}, "Te": {"trailers"}, "Keep-Alive": {"timeout=5"}, "Openai-Organization": {"o"}, "User-Agent": {"client"},
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("answer is %s %s, %v", resp.Status, text, err)
			}
			_ = resp.Body.Close()
			if got := resp.Header.Get("Traceparent"); !strings.Contains(got, trace) {
				t.Errorf("the answer's traceparent is %q, want the client's trace", got)
			}
			seen := engines.posted()[before:]
			if want := map[string]int{"split": 2, "whole": 1}[name]; len(seen) < want {
				t.Errorf("engines got %d requests, want %d", len(seen), want)
			}
			for _, at := range seen {
				for header, values := range at.Header {
					if !slices.Contains(own, header) {
						t.Errorf("%s got %s: %q", at.URL, header, values)
					}
				}
				if !strings.Contains(at.Header.Get("Traceparent"), trace) || at.Header.Get("X-Request-Id") == "mine" || at.URL.RawQuery != "" ||
					at.Header.Get("User-Agent") == "client" || at.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s got %v", at.URL, at.Header)
				}
			}
		})
	}
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestOperatorsListenerOfAFrontend(t *testing.T) {
	cfg := splitting(quick())
	cfg.API.AdminListen = "127.0.0.1:0"
	cfg.Log.Level = 0
	log := new(lockedLog)
	base, _ := startUpLogging(t, cfg, network{listen: net.Listen}, log)
	found := regexp.MustCompile(`serving operators.*?(127\.0\.0\.1:\d+)`).FindStringSubmatch(log.String())
	if found == nil {
		t.Fatalf("the log does not say where operators are served:\n%s", log)
	}
	admin := "http://" + found[1]
	for url, want := range map[string]int{
		base + "/metrics": 404, base + "/debug/pprof/": 404, base + "/readyz": 200,
		admin + "/metrics": 200, admin + "/debug/pprof/heap": 200, admin + "/readyz": 200, admin + "/v1/models": 404,
	} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s is %d %.200s, want %d", url, resp.StatusCode, text, want)
		}
	}
}
