package api

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-llm/baton/api/auth"
)

// fakeLive shows a text and knows the request r1.
type fakeLive struct{ cancels atomic.Int32 }

func (f *fakeLive) Text(context.Context) ([]byte, error) { return []byte(`{"now":1}`), nil }

func (f *fakeLive) Cancel(id string) bool {
	if id == "r1" {
		f.cancels.Add(1)
	}
	return id == "r1"
}

// operated is a server with a live picture; its routes for operators are at the URL.
func operated(t *testing.T, keys *auth.Keyring) (s *Server, live *fakeLive, url string) {
	t.Helper()
	h := start(t, answering(newScript(nil, "{}")), oneModel, nil)
	live = &fakeLive{}
	h.server.deps.Live, h.server.deps.AdminKeys = live, keys
	admin := httptest.NewServer(h.server.Admin())
	t.Cleanup(admin.Close)
	return h.server, live, admin.URL
}

// operate sends a request whose header alternates names and values; a Host is the request's own.
func operate(t *testing.T, method, url string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestOperatorsOfThisMachineNeedNoKey(t *testing.T) {
	_, live, url := operated(t, nil)
	resp := operate(t, "GET", url+"/admin/v1/state")
	if text := readAll(t, resp); resp.StatusCode != 200 || text != `{"now":1}` || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the state is %d %s %v", resp.StatusCode, text, resp.Header)
	}
	resp = operate(t, "POST", url+"/admin/v1/requests/r1/cancel")
	if text := readAll(t, resp); resp.StatusCode != 200 || live.cancels.Load() != 1 || text != `{"id":"r1","cancelled":true}` {
		t.Errorf("cancelling is %d %s", resp.StatusCode, text)
	}
	resp = operate(t, "POST", url+"/admin/v1/requests/r2/cancel")
	if text := readAll(t, resp); resp.StatusCode != 404 || !strings.Contains(text, `"NotFoundError"`) {
		t.Errorf("cancelling what is not there is %d %s", resp.StatusCode, text)
	}
}

func TestWhoMayOperate(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		header []string
		open   int // status without admin keys
		keys   int // and with
	}{
		{"of this machine", "GET", nil, 200, 200},
		{"by another name of this machine", "GET", []string{"Host", "[::1]:9090"}, 200, 200},
		{"a browser that was lied to about an address", "GET", []string{"Host", "evil.example:9090"}, 401, 401},
		{"through a proxy", "GET", []string{"X-Forwarded-For", "10.1.1.1"}, 401, 401},
		{"with a key, through a proxy", "GET", []string{"X-Forwarded-For", "10.1.1.1", "Authorization", "Bearer " + freeKey}, 401, 200},
		{"with a key, by another name", "GET", []string{"Host", "gpu-a:9090", "Authorization", "Bearer " + freeKey}, 401, 200},
		{"with a wrong key", "GET", []string{"Host", "gpu-a:9090", "Authorization", "Bearer wrong-key-0123456789"}, 401, 401},
		{"with a wrong key, of this machine", "GET", []string{"Authorization", "Bearer wrong-key-0123456789"}, 200, 401},
		{"a page of another site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403, 403},
		{"a page of another port", "POST", []string{"Sec-Fetch-Site", "same-site"}, 403, 403},
		{"an old browser's page of another site", "POST", []string{"Origin", "https://evil.example"}, 403, 403},
		{"our own page", "POST", []string{"Sec-Fetch-Site", "same-origin"}, 200, 200},
	} {
		for _, keys := range []*auth.Keyring{nil, keyring(t, "")} {
			want := c.open
			if keys != nil {
				want = c.keys
			}
			_, live, url := operated(t, keys)
			path := "/admin/v1/state"
			if c.method == "POST" {
				path = "/admin/v1/requests/r1/cancel"
			}
			resp := operate(t, c.method, url+path, c.header...)
			text := readAll(t, resp)
			if resp.StatusCode != want || want >= 400 && !strings.HasPrefix(text, `{"error":{"message":`) {
				t.Errorf("%s, keys %t: %d %s, want %d", c.name, keys != nil, resp.StatusCode, text, want)
			}
			if want >= 400 && live.cancels.Load() > 0 {
				t.Errorf("%s: refused and carried out", c.name)
			}
			if resp := operate(t, "GET", url+"/metrics", c.header...); resp.StatusCode != 200 {
				t.Errorf("%s: metrics are %d", c.name, resp.StatusCode)
			}
		}
	}
}

func TestEventsShowTheStateAgainAndAgain(t *testing.T) {
	s, _, url := operated(t, nil)
	resp := operate(t, "GET", url+"/admin/v1/events")
	defer func() { _ = resp.Body.Close() }()
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("content type is %s", got)
	}
	lines := bufio.NewScanner(resp.Body)
	for n := 0; n < 2 && lines.Scan(); {
		switch lines.Text() {
		case "event: state", "":
		case `data: {"now":1}`:
			n++
		default:
			t.Fatalf("a line is %q", lines.Text())
		}
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	s.watchers.Add(mostWatchers - 1)
	full := operate(t, "GET", url+"/admin/v1/events")
	if text := readAll(t, full); full.StatusCode != 503 || full.Header.Get("Retry-After") == "" {
		t.Errorf("one more than may watch gets %d %s", full.StatusCode, text)
	}
	s.watchers.Add(1 - mostWatchers)
	_ = resp.Body.Close()
	limit := time.After(10 * time.Second)
	for s.watchers.Load() > 0 {
		select {
		case <-limit:
			t.Fatal("a stream whose client left goes on")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestThePageChatsAsAnyClient(t *testing.T) {
	h := startGuarded(t, answering(newScript(nil, "{}")), oneModel, "")
	h.server.deps.Live = &fakeLive{}
	admin := httptest.NewServer(h.server.Admin())
	defer admin.Close()
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"without a key":            {nil, 401},
		"with an operator's key":   {[]string{"Authorization", "Bearer " + freeKey}, 401},
		"with a client's key":      {[]string{"X-Baton-Api-Key", freeKey}, 200},
		"from another site's page": {[]string{"X-Baton-Api-Key", freeKey, "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", admin.URL+"/admin/v1/chat/completions", strings.NewReader(chatBody))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if text := readAll(t, resp); resp.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, text, c.status)
		}
	}
}

func TestThePageIsServedStrictly(t *testing.T) {
	_, _, url := operated(t, nil)
	for path, kind := range map[string]string{"/": "text/html", "/ui": "text/html", "/ui/app.js": "text/javascript", "/ui/style.css": "text/css", "/ui/icon.svg": "image/svg+xml"} {
		resp := operate(t, "GET", url+path)
		text := readAll(t, resp)
		if policy := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) || text == "" ||
			!strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s is %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	if resp := operate(t, "GET", url+"/ui/none.js"); resp.StatusCode != 404 {
		t.Errorf("a file that is not there is %d", resp.StatusCode)
	} else {
		readAll(t, resp)
	}
}
