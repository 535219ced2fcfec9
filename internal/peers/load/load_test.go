package load_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/peers/load"
	"github.com/baton-llm/baton/internal/peers/stub"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs an engine and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = (&stub.Engine{Host: "127.0.0.1"}).Serve(ctx, ln)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return ln.Addr().String()
}

func plan(addr, prompt string) *load.Plan {
	return &load.Plan{
		Addrs: []string{addr}, Path: "/v1/chat/completions", Tokens: 7, Conns: 3, PerConn: 4, For: time.Minute, Gaps: true, Timeout: 20 * time.Second,
		Bodies: [][]byte{[]byte(`{"model":"stub","messages":[{"role":"user","content":"` + prompt + `"}],"max_tokens":7,"stream":true}`)},
	}
}

func TestEveryAnswerIsCounted(t *testing.T) {
	for _, prompt := range []string{"as fast as it goes", "pace=1ms and so on", strings.Repeat("long ", 100_000)} {
		got, err := load.Run(t.Context(), plan(serve(t), prompt))
		if err != nil {
			t.Fatal(err)
		}
		if got.Requests != 12 || got.Failed != 0 || got.Tokens != 12*7 || len(got.TTFT) != 12 || got.Err != nil || got.AtOnce < 1 || got.AtOnce > 3 {
			t.Errorf("%.20q: at most %d at once of 3 connections; %d requests, %d failed, %d tokens, %d first tokens, %v; want 12, 0, 84, 12", prompt, got.AtOnce, got.Requests, got.Failed, got.Tokens, len(got.TTFT), got.Err)
		}
		if paced := strings.HasPrefix(prompt, "pace"); paced && len(got.Gaps) == 0 {
			t.Error("paced tokens came without gaps")
		}
	}
}

func TestAnswersThatAreWrongFail(t *testing.T) {
	addr := serve(t)
	for name, change := range map[string]func(*load.Plan){
		"another length": func(p *load.Plan) { p.Tokens = 8 },
		"no such path":   func(p *load.Plan) { p.Path = "/v2" },
		"nobody there":   func(p *load.Plan) { p.Addrs = []string{"127.0.0.1:1"} },
	} {
		p := plan(addr, "x")
		change(p)
		got, err := load.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got.Failed != 12 || got.Requests != 0 || got.Err == nil {
			t.Errorf("%s: %d failed, %d complete, %v; want 12, 0 and the first fault", name, got.Failed, got.Requests, got.Err)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []time.Duration{30, 10, 20}
	if a, b, c := load.Quantile(values, 0), load.Quantile(values, .5), load.Quantile(values, .99); a != 10 || b != 20 || c != 30 {
		t.Errorf("quantiles are %d, %d, %d, want 10, 20, 30", a, b, c)
	}
	if load.Quantile(nil, .5) != 0 {
		t.Error("a quantile of nothing is not 0")
	}
}

func TestRequestsAreSpread(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	handle := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[r.Host+" "+string(body)]++
		mu.Unlock()
		_, _ = io.WriteString(w, `data: {"content":" tok"}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}
	a, b := httptest.NewServer(http.HandlerFunc(handle)), httptest.NewServer(http.HandlerFunc(handle))
	defer a.Close()
	defer b.Close()
	p := &load.Plan{
		Addrs: []string{a.Listener.Addr().String(), b.Listener.Addr().String()}, Bodies: [][]byte{[]byte("x"), []byte("y"), []byte("z")},
		Path: "/", Tokens: 1, Conns: 4, PerConn: 6, For: time.Minute, Timeout: 20 * time.Second,
	}
	got, err := load.Run(t.Context(), p)
	if err != nil || got.Err != nil || got.Requests != 24 {
		t.Fatalf("%+v, %v; want 24 requests", got, err)
	}
	for what, n := range seen {
		if n != 4 {
			t.Errorf("%s had %d requests, want 4", what, n)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d kinds of requests came, want each body at each address", len(seen))
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	defer silent.Close()
	p := plan(silent.Listener.Addr().String(), "x")
	p.Timeout = time.Hour
	got, err := load.Run(ctx, p)
	if err != nil || got.Failed == 0 {
		t.Errorf("a load that was ended: %+v, %v; want failed requests", got, err)
	}
}
