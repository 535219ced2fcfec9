package operator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/api/live"
	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/wire"
)

// frontend is an admin API that answers what it is told to.
type frontend func(*http.Request) (status int, body string, err error)

func (f frontend) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

func (f frontend) admin(t *testing.T) *operator.Admin {
	t.Helper()
	a, err := operator.NewAdmin("127.0.0.1:9090", "", f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// picture is a deployment with n workers and as many requests.
func picture(n int) *live.State {
	s := &live.State{Now: time.Unix(1e9, 0), Frontend: live.Frontend{ID: "frontend-a", UptimeSeconds: 90}, Policy: live.Policy{Mode: "elastic", SLOTPOTSeconds: 0.1}}
	s.Queues.Prefill = live.Backlog{Jobs: 7, OldestJobSeconds: 1.5, WaitingFor: map[string]int{"window": 3, "link": 0}, Classes: []live.QueueClass{{Class: wire.Batch, Requests: 4}}}
	s.Queues.Decode.Error = "no answer"
	for i := range n {
		id := fmt.Sprintf("decode-%d", i)
		s.Workers = append(s.Workers, live.Worker{Process: live.Process{ID: id, State: "starting", Reason: "it loads"}, Role: wire.RoleDecode, RunningRequests: 5, KVUsedTokens: 30, KVCapacityTokens: 120})
		s.Requests.Active = append(s.Requests.Active, live.Request{
			ID: fmt.Sprintf("r%d", i), State: "decoding", Attempt: 2, Path: "whole", Why: "lend", Worker: id, TotalSeconds: 10, TTFTSeconds: 4, PromptTokens: 700, SentTokens: 11,
			Steps: []live.Step{{State: "queued"}, {State: "prefilling", AfterSeconds: 1}, {State: "queued", AfterSeconds: 3}, {State: "decoding", AfterSeconds: 3.5}},
		})
	}
	return s
}

func document(t *testing.T, s *live.State) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAFrameShowsWorkersQueuesAndRequests(t *testing.T) {
	s := picture(2)
	s.Requests.Active[1].Tenant = "\x1b[31m" // nothing that a terminal obeys
	s.Missing = []string{"no prefill worker"}
	s.Departed = []live.Departed{{ID: "decode-x", AgoSeconds: 5, Why: "silent"}, {ID: "decode-y", AgoSeconds: 5, Why: "left"}}
	var out strings.Builder
	if err := frontend(func(*http.Request) (int, string, error) { return 200, document(t, s), nil }).admin(t).Once(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"frontend-a up 1m30s elastic SLO TPOT 100ms", "prefill queue 7 jobs oldest 1.5s batch 4 waiting for window 3", "decode queue not known: no answer",
		"MISSING no prefill worker", "DIED decode-x 5s ago", "decode-1 decode starting: it loads 5 0 0 0 25%",
		"r0 interactive decoding 10s 6.5s 1.5s 2s - 4s 700 11 whole (lend) decode-0 2 -", "?[31m",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("the frame has no %q:\n%s", want, out.String())
		}
	}
	for _, not := range []string{"link", "decode-y", "\x1b"} {
		if strings.Contains(out.String(), not) {
			t.Errorf("the frame has %q:\n%s", not, out.String())
		}
	}
}

// terminal takes what is drawn, a frame at a time.
type terminal struct {
	mu     sync.Mutex
	frames []string
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frames = append(t.frames, string(p))
	return len(p), nil
}

func (t *terminal) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.frames[len(t.frames)-1]
}

func TestWatchingKeepsToTheTerminalAndOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		front := frontend(func(*http.Request) (int, string, error) {
			if down.Load() {
				return 0, "", errors.New("refused")
			}
			return 200, document(t, picture(100)), nil
		})
		keys, press := io.Pipe()
		screen, ended := &terminal{}, make(chan error)
		go func() {
			ended <- front.admin(t).Watch(t.Context(), operator.Screen{Out: screen, Keys: keys, Size: func() (int, int) { return 60, 24 }})
		}()
		time.Sleep(500 * time.Millisecond)
		lines := strings.Split(screen.last(), "\r\n")
		if len(lines) > 24 {
			t.Errorf("%d lines on a terminal of 24", len(lines))
		}
		for _, line := range lines {
			for _, code := range []string{"\x1b[H", "\x1b[K", "\x1b[J", "\x1b[1m", "\x1b[0m"} {
				line = strings.ReplaceAll(line, code, "")
			}
			if n := len([]rune(line)); n > 60 {
				t.Errorf("%d characters in a line of 60: %q", n, line)
			}
		}
		for _, want := range []string{"decode-0", "more workers", "r0 ", "more requests"} {
			if !strings.Contains(screen.last(), want) {
				t.Errorf("the frame has no %q:\n%s", want, screen.last())
			}
		}
		down.Store(true)
		time.Sleep(time.Second)
		if !strings.Contains(screen.last(), "CONNECTION LOST") || !strings.Contains(screen.last(), "decode-0") {
			t.Errorf("without its frontend it shows\n%s", screen.last())
		}
		down.Store(false)
		time.Sleep(time.Second)
		if strings.Contains(screen.last(), "CONNECTION LOST") {
			t.Errorf("with its frontend again it shows\n%s", screen.last())
		}
		_, _ = press.Write([]byte("xq"))
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if end := screen.last(); !strings.Contains(end, "\x1b[?25h") || !strings.Contains(end, "\x1b[?1049l") {
			t.Errorf("it leaves the terminal with %q", end)
		}
	})
}

func TestWhatAnAdminListenerSaysIsPassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   []string
	}{
		"no key":    {401, `{"error":{"message":"Only programs"}}`, []string{"--admin-key", "BATON_ADMIN_KEY"}},
		"not baton": {200, `<html>`, []string{"not as a frontend of baton"}},
		"elsewhere": {404, `404 page not found`, []string{"/admin/v1/state", "HTTP 404", "api.admin_listen"}},
		"busy":      {503, `{"error":{"message":"Come again."}}`, []string{"Come again.", "HTTP 503"}},
	} {
		_, err := frontend(func(*http.Request) (int, string, error) { return c.status, c.body, nil }).admin(t).State(t.Context())
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
}

func TestAdminAddresses(t *testing.T) {
	for address, want := range map[string]string{
		":9090": "http://127.0.0.1:9090", "gpu-a:1": "http://gpu-a:1", "http://127.0.0.1:9090/ui": "http://127.0.0.1:9090", "https://ops.example/baton/": "https://ops.example/baton",
		"ftp://x": "", "": "", "http://": "",
	} {
		got := ""
		a, err := operator.NewAdmin(address, "k", frontend(func(r *http.Request) (int, string, error) {
			got = strings.TrimSuffix(r.URL.String(), "/admin/v1/requests/a%2Fb/cancel")
			if r.Method != http.MethodPost || !slices.Equal(r.Header["Authorization"], []string{"Bearer k"}) {
				t.Errorf("asked with %s and %v", r.Method, r.Header)
			}
			return 200, "{}", nil
		}))
		if err == nil {
			err = a.Cancel(t.Context(), "a/b")
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q leads to %q, %v, want %q", address, got, err, want)
		}
	}
}
