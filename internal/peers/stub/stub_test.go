package stub_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/peers/stub"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, e *stub.Engine) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	e.Host, e.Port = addr.IP.String(), addr.Port
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Serve(ctx, ln)
	}()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		<-ended
	})
	return "http://" + ln.Addr().String()
}

func post(t *testing.T, url, body string) *http.Response {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d of %s", res.StatusCode, body)
	}
	return res
}

// events are the JSON of a stream that ends as it should.
func events(t *testing.T, body io.Reader) (all []map[string]any) {
	t.Helper()
	done := false
	for lines := bufio.NewScanner(body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || done {
			if lines.Text() != "" {
				t.Errorf("line %q in a stream", lines.Text())
			}
			continue
		}
		if done = data == "[DONE]"; done {
			continue
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Errorf("event %q: %v", data, err)
		}
		all = append(all, e)
	}
	if !done {
		t.Error("no [DONE]")
	}
	return all
}

func TestStreams(t *testing.T) {
	url := serve(t, &stub.Engine{})
	for _, tt := range []struct {
		path, prompt, options string
		events, counted       int // with and without a usage
	}{
		{"/v1/chat/completions", `"messages":[{"role":"user","content":"hi"}]`, ``, 5, 0},
		{"/v1/chat/completions", `"messages":[{"role":"user","content":"pace=1ms hi"}]`, `{"include_usage":true}`, 6, 1},
		{"/v1/completions", `"prompt":"hi"`, `{"include_usage":true,"continuous_usage_stats":true}`, 5, 5},
	} {
		body := `{"model":"stub",` + tt.prompt + `,"max_tokens":3,"stream":true`
		if tt.options != "" {
			body += `,"stream_options":` + tt.options
		}
		got := events(t, post(t, url+tt.path, body+"}").Body)
		counted := 0
		for _, e := range got {
			if e["usage"] != nil {
				counted++
			}
		}
		text, _ := json.Marshal(got)
		if len(got) != tt.events || counted != tt.counted || strings.Count(string(text), stub.Token) != 3 {
			t.Errorf("%s %s: %d events, %d counted, want %d and %d, and 3 tokens: %s", tt.path, tt.options, len(got), counted, tt.events, tt.counted, text)
		}
	}
}

func TestHandle(t *testing.T) {
	e := &stub.Engine{Prefill: true}
	url := serve(t, e)
	for _, spelled := range []string{`"do_remote_decode":true`, `"do_remote_decode": true`} {
		res := post(t, url+"/v1/completions", `{"prompt":"hi","max_tokens":1,"stream":false,"kv_transfer_params":{`+spelled+`}}`)
		var answer struct {
			Params struct {
				Ready bool   `json:"do_remote_prefill"`
				Host  string `json:"remote_host"`
				Port  int    `json:"remote_port"`
			} `json:"kv_transfer_params"`
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if p := answer.Params; !p.Ready || fmt.Sprintf("http://%s:%d", p.Host, p.Port) != url {
			t.Errorf("the handle of %s is %+v, want one of %s", spelled, p, url)
		}
	}
	// A request of SGLang's kind goes to both engines: this one has no more than the first token to say.
	if got := events(t, post(t, url+"/v1/completions", `{"prompt":"hi","max_tokens":9,"stream":true,"bootstrap_room":1}`).Body); len(got) != 2 {
		t.Errorf("%d events, want a token and the end", len(got))
	}
}

func TestModel(t *testing.T) {
	url := serve(t, &stub.Engine{Model: "another"})
	res, err := http.Get(url + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), `"id":"another"`) {
		t.Errorf("models are %s, %v; want another", text, err)
	}
	for _, e := range events(t, post(t, url+"/v1/completions", `{"prompt":"hi","max_tokens":2,"stream":true}`).Body) {
		if e["model"] != "another" {
			t.Errorf("event of model %v, want another", e["model"])
		}
	}
}

func TestWhatRoutersAsk(t *testing.T) {
	url := serve(t, &stub.Engine{})
	for path, want := range map[string]int{"/health": 200, "/v1/models": 200, "/metrics": 200, "/version": 200, "/nothing": 404} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, want)
		}
	}
}
