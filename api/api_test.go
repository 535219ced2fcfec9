package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/router"
)

func TestModels(t *testing.T) {
	f := fakeFleet{
		{ID: "org/name", Card: []byte(`{"id":"org/name","max_model_len":4096,"root":"/models/x"}`)},
		{ID: "bare", Card: []byte("not JSON")},
	}
	h := start(t, failing(errors.New("called")), f, nil)
	card := string(f[0].Card)
	bare := `{"id":"bare","object":"model","created":0,"owned_by":"baton"}`
	for path, want := range map[string]string{
		"/v1/models":            `{"object":"list","data":[` + card + `,` + bare + `]}`,
		"/v1/models/org/name":   card,
		"/v1/models/org%2Fname": card,
		"/v1/models/bare":       bare,
		"/v1/models/other":      "{\"error\":{\"message\":\"The model `other` does not exist.\",\"type\":\"NotFoundError\",\"param\":\"model\",\"code\":404}}",
	} {
		if _, got := h.do(t, "GET", path, ""); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestModelLeftOut(t *testing.T) {
	body := strings.Replace(chatBody, `"model":"m",`, "", 1)
	for _, c := range []struct {
		name   string
		fleet  fakeFleet
		status int
	}{
		{"the only one is meant", oneModel, 200},
		{"one of several must be named", fakeFleet{{ID: "a"}, {ID: "b"}}, 400},
		{"none is there yet", nil, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, answering(newScript(nil, "{}")), c.fleet, nil)
			if resp, text := h.do(t, "POST", chatPath, body); resp.StatusCode != c.status {
				t.Errorf("answer is %d %s, want %d", resp.StatusCode, text, c.status)
			}
		})
	}
}

func TestProbes(t *testing.T) {
	for _, c := range []struct {
		fleet fakeFleet
		ready int
		body  string
	}{
		{oneModel, 200, `{"ready":true}`},
		{nil, 503, `{"ready":false,"missing":["no worker has announced itself"]}`},
	} {
		h := start(t, failing(errors.New("called")), c.fleet, nil)
		for _, path := range []string{"/healthz", "/health", "/ping"} {
			if resp, _ := h.do(t, "GET", path, ""); resp.StatusCode != http.StatusOK {
				t.Errorf("%s is %d", path, resp.StatusCode)
			}
		}
		if resp, text := h.do(t, "GET", "/readyz", ""); resp.StatusCode != c.ready || text != c.body {
			t.Errorf("/readyz is %d %s", resp.StatusCode, text)
		}
		if _, text := h.do(t, "GET", "/version", ""); text != `{"version":"v1"}` {
			t.Errorf("/version is %s", text)
		}
	}
}

func TestWrongMethodNamesTheRightOnes(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, nil)
	for _, c := range []struct{ method, path, allow string }{
		{"GET", chatPath, "POST"},
		{"DELETE", "/v1/models/a/b", "GET, HEAD"},
		{"POST", "/healthz", "GET, HEAD"},
	} {
		resp, text := h.do(t, c.method, c.path, "")
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != c.allow || !strings.HasPrefix(text, `{"error":`) {
			t.Errorf("%s %s is %d, Allow %q, %s", c.method, c.path, resp.StatusCode, resp.Header.Get("Allow"), text)
		}
	}
	if resp, _ := h.do(t, "HEAD", "/healthz", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("HEAD /healthz is %d", resp.StatusCode)
	}
}

func TestPanicIsA500(t *testing.T) {
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { panic("boom") }}
	h := start(t, r, oneModel, nil)
	resp, text := h.do(t, "POST", chatPath, chatSSE)
	if resp.StatusCode != http.StatusInternalServerError || !strings.HasPrefix(text, `{"error":`) || strings.Contains(text, "boom") {
		t.Errorf("answer is %d %s", resp.StatusCode, text)
	}
	h.counted(t, chatPath, "500")
}

func TestHTTP2WithoutTLS(t *testing.T) {
	h := start(t, answering(newScript(nil, "{}")), oneModel, nil)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(h.request(t, "POST", chatPath, chatSSE))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.ProtoMajor != 2 || string(text) != "data: {}\n\ndata: [DONE]\n\n" {
		t.Errorf("answer is %s %q, %v", resp.Proto, text, err)
	}
}

func TestDrainTurnsReadinessOffAndLetsStreamsFinish(t *testing.T) {
	release := make(chan struct{})
	answer := newScript(nil, `{"a":1}`)
	answer.hold = release
	h := start(t, answering(answer), oneModel, func(c *Config) { c.DrainDelay = time.Second })
	resp, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatSSE))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	h.stop()
	for until := time.Now().Add(500 * time.Millisecond); ; {
		ready, text := h.do(t, "GET", "/readyz", "")
		if ready.StatusCode == http.StatusServiceUnavailable && strings.Contains(text, "draining") {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("/readyz is %d %s while the server drains", ready.StatusCode, text)
		}
	}
	close(release)
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
		t.Errorf("stream is %q, %v", text, err)
	}
	if err := <-h.served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestDrainHasAnEnd(t *testing.T) {
	answer := newScript(nil, `{"a":1}`)
	answer.hold = make(chan struct{}) // for ever
	h := start(t, answering(answer), oneModel, func(c *Config) { c.DrainTimeout = 20 * time.Millisecond })
	resp, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatSSE))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	h.stop()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), `data: {"error":{"message":"The server is stopping."`) {
		t.Errorf("stream is %q, %v", text, err)
	}
	if err := <-h.served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	<-answer.closed
}

func TestConfigReportsEveryFault(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	err := Config{
		Listen: "nowhere", AdminListen: "9090", TLSCert: "tls.crt", SSEKeepalive: -1,
		CORSOrigins: []string{"*", "https://good.example:8443", "https://*.good.example", "bad.example", "https://bad.example/", "ftp://bad.example"},
	}.Validate()
	for _, fault := range []string{
		"listen is", "admin_listen is", "tls_cert and api.tls_key", "max_connections is", "max_body is", "max_body_memory is", "max_header_bytes is",
		"header_timeout is", "body_timeout is", "write_timeout is", "idle_timeout is", "sse_keepalive is",
		`cors_origins has "bad.example"`, `cors_origins has "https://bad.example/"`, `cors_origins has "ftp://bad.example"`,
	} {
		if !strings.Contains(err.Error(), "api."+fault) {
			t.Errorf("%v does not say: api.%s", err, fault)
		}
	}
	if strings.Contains(err.Error(), "good.example") {
		t.Errorf("good origins are refused: %v", err)
	}
}
