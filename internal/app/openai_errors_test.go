package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

// failure is one way in which a request fails, as TestOpenAIDocErrors brings it about.
type failure struct {
	when               string
	method, path, body string // "": POST, chatPath, a good body
	header             []string
	faults             enginesim.Faults // of every engine
	status             int
}

const goodChat = `{"messages":[{"role":"user","content":"hello"}],"max_tokens":20}`

var failures = []failure{
	{when: "the body is not JSON, nests deeper than 128 or names a member twice", body: `{`, status: 400},
	{when: "a member that baton reads is of the wrong kind or out of range", body: `{"messages":[{"role":"user","content":"x"}],"n":0}`, status: 400},
	{when: "`kv_transfer_params` or `ec_transfer_params` is sent", body: `{"messages":[{"role":"user","content":"x"}],"kv_transfer_params":{}}`, status: 400},
	{when: "`X-Baton-Class` is no class", body: goodChat, header: []string{"X-Baton-Class", "vip"}, status: 400},
	{when: "`X-Baton-Deadline-Ms` is no positive number", body: goodChat, header: []string{"X-Baton-Deadline-Ms", "soon"}, status: 400},
	{when: "the engine refuses the request, here for its length; its own words", body: `{"messages":[{"role":"user","content":"` + strings.Repeat("long ", 500) + `"}]}`, status: 400},
	{when: "the model does not exist", body: `{"model":"none","messages":[{"role":"user","content":"x"}]}`, status: 404},
	{when: "there is no such path", path: "/v1/none", body: goodChat, status: 404},
	{when: "the path has other methods", method: http.MethodDelete, status: 405},
	{when: "the body is larger than `api.max_body`", body: `{"messages":"` + strings.Repeat("x", 8<<10) + `"}`, status: 413},
	{when: "the body is not `application/json`, or is compressed", body: goodChat, header: []string{"Content-Type", "text/plain"}, status: 415},
	{when: "the engine cannot use the content; its own words", body: goodChat, faults: enginesim.Faults{Status: 422}, status: 422},
	{when: "the engine fails each time; its own words", body: goodChat, faults: enginesim.Faults{Status: 500}, status: 500},
	{when: "the engine's answer is not what its protocol says", body: goodChat, faults: enginesim.Faults{Garbage: true}, status: 502},
	{when: "the prefill engine gives no KV handle: it runs without a connector", body: goodChat, faults: enginesim.Faults{NoHandle: true}, status: 502},
	{
		when: "the deadline passes (`X-Baton-Deadline-Ms`, `api.request_timeout`), or an engine falls silent",
		body: goodChat, header: []string{"X-Baton-Deadline-Ms", "200"}, faults: enginesim.Faults{Hang: true}, status: 504,
	},
	{when: "engines break off each time", body: goodChat, faults: enginesim.Faults{Crash: true}, status: 503}, // last: they come back slowly
}

// settings are failures for which the deployment must be another one.
var settings = []struct {
	when   string
	status int
	get    func(*testing.T) (*http.Response, string)
}{
	{"there are API keys, and the request has none that is valid", 401, noKey},
	{"the key may not ask for the class in `X-Baton-Class`", 403, classOfOthers},
	{"the body does not arrive in time (`api.body_timeout`)", 408, slowBody},
	{"more is in flight than `router.all` or the class allows", 429, tooMany},
	{"an answer can no longer begin in time (`schedule.reject_late`)", 429, late},
	{"the key's requests or tokens a minute are used up", 429, overLimit},
	{"no worker serves any model", 503, noWorkers},
}

func TestOpenAIDocErrors(t *testing.T) {
	cfg := splitting(quick())
	cfg.API.MaxBody, cfg.Sim.MaxModelLen = 4<<10, 256
	up := startTapped(t, cfg)
	type row struct {
		status int
		text   string
	}
	var rows []row
	add := func(when string, status int, method, path string, resp *http.Response, text string) {
		t.Helper()
		if resp.StatusCode != status {
			t.Errorf("%s: answer is %d %s, want %d", when, resp.StatusCode, text, status)
		}
		if path != "/v1/none" {
			described := method
			if method == http.MethodDelete {
				described = http.MethodPost
			}
			if err := up.description.Check(described, path, resp, text); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		rows = append(rows, row{status, errorRow(t, when, resp, text)})
	}
	for _, f := range failures {
		if f.method == "" {
			f.method = http.MethodPost
		}
		if f.path == "" {
			f.path = chatPath
		}
		for _, s := range up.deployment.engines {
			s.engine.SetFaults(f.faults)
		}
		resp, text, err := up.send(t, f.method, f.path, f.body, f.header...)
		if err != nil {
			t.Fatalf("%s: %v", f.when, err)
		}
		add(f.when, f.status, f.method, f.path, resp, text)
	}
	for _, f := range settings {
		resp, text := f.get(t)
		add(f.when, f.status, http.MethodPost, chatPath, resp, text)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.status, b.status) })
	table := []string{"| when | status | `type` | `param` | headers |", "|---|---|---|---|---|"}
	for _, r := range rows {
		table = append(table, r.text)
	}
	inDoc(t, "errors", table)
}

func TestStreamThatBreaksOffIsAsDescribed(t *testing.T) {
	cfg := splitting(quick())
	cfg.Sim.Faults.CutAfter = 3
	up := startTapped(t, cfg)
	for path, body := range map[string]string{
		chatPath:        `{"messages":[{"role":"user","content":"hello"}],"stream":true,"ignore_eos":true,"max_tokens":2000}`,
		completionsPath: `{"prompt":"hello","stream":true,"ignore_eos":true,"max_tokens":2000}`,
	} {
		resp, text, err := up.send(t, http.MethodPost, path, body)
		if err != nil {
			t.Fatal(err)
		}
		if err := up.description.Check(http.MethodPost, path, resp, text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		_, broken, ok := strings.Cut(text, `data: {"error":{"message":`)
		if !ok || !strings.HasSuffix(broken, "\n\ndata: [DONE]\n\n") || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: stream is %d %s, want it to end with an error and [DONE]", path, resp.StatusCode, text)
		}
	}
}

// errorRow reads an error as a client does.
func errorRow(t *testing.T, when string, resp *http.Response, text string) string {
	t.Helper()
	var told struct {
		Error struct {
			Message, Type string
			Param         *string
			Code          int
		}
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil || told.Error.Message == "" || told.Error.Code != resp.StatusCode {
		t.Errorf("%s: answer is %d %s, want an envelope with the status as its code", when, resp.StatusCode, text)
	}
	param := "null"
	if told.Error.Param != nil {
		param = "`" + *told.Error.Param + "`"
	}
	var headers []string
	for _, name := range []string{"Allow", "WWW-Authenticate", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "X-Ratelimit-Limit-Requests"} {
		if resp.Header.Get(name) != "" {
			headers = append(headers, "`"+name+"`")
		}
	}
	return fmt.Sprintf("| %s | %d | `%s` | %s | %s |", when, resp.StatusCode, told.Error.Type, param, strings.Join(headers, ", "))
}

// slowBody sends a part of a body and then nothing.
func slowBody(t *testing.T) (*http.Response, string) {
	t.Helper()
	cfg := splitting(quick())
	cfg.API.BodyTimeout = 100 * time.Millisecond
	base, _ := startUp(t, cfg)
	body, writer := io.Pipe()
	defer writer.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+chatPath, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readAll(t, resp)
}

// withKey sends a request to a deployment that has one key, as often as asked.
func withKey(t *testing.T, times int, authorization func(key string) string, class, entry string) (resp *http.Response, text string) {
	t.Helper()
	cfg := splitting(quick())
	cfg.API.Auth.KeysFile = filepath.Join(t.TempDir(), "keys.yaml")
	key := newKey(t, cfg.API.Auth.KeysFile, "acme", entry)
	base, _ := startUp(t, cfg)
	for range times {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+chatPath, strings.NewReader(goodChat))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {authorization(key)}, "X-Baton-Class": {class}}
		if resp, err = http.DefaultClient.Do(req); err != nil {
			t.Fatal(err)
		}
		text = readAll(t, resp)
	}
	return resp, text
}

func noKey(t *testing.T) (*http.Response, string) {
	t.Helper()
	return withKey(t, 1, func(string) string { return "Bearer another-key-than-that" }, "batch", "class: batch")
}

func classOfOthers(t *testing.T) (*http.Response, string) {
	t.Helper()
	return withKey(t, 1, func(key string) string { return "Bearer " + key }, "interactive", "class: batch")
}

func overLimit(t *testing.T) (*http.Response, string) {
	t.Helper()
	return withKey(t, 2, func(key string) string { return "Bearer " + key }, "batch", "limits: {requests_per_minute: 1}")
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tooMany sends a request while the only one that is allowed runs.
// late asks where no first token can be in time.
func late(t *testing.T) (*http.Response, string) {
	t.Helper()
	cfg := splitting(quick())
	cfg.Schedule.SLO.TTFT, cfg.Schedule.RejectLate = time.Nanosecond, true
	base, _ := startUp(t, cfg)
	resp, err := post(t.Context(), http.DefaultClient, base+chatPath, goodChat)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readAll(t, resp)
}

func tooMany(t *testing.T) (*http.Response, string) {
	t.Helper()
	cfg := splitting(quick())
	cfg.Router.All.Requests = 1
	cfg.Sim.Faults.Hang = true
	base, d := startUp(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := post(ctx, http.DefaultClient, base+chatPath, goodChat); err == nil {
			_ = resp.Body.Close()
		}
	}()
	defer func() {
		cancel()
		<-ended
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(30 * time.Second); metric(t, d.proc.reg, "baton_requests_in_flight", "") == 0; {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the first request is not in flight after 30 s")
		}
	}
	resp, err := post(t.Context(), http.DefaultClient, base+chatPath, goodChat)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readAll(t, resp)
}

// noWorkers sends a request to a frontend that is alone.
func noWorkers(t *testing.T) (*http.Response, string) {
	t.Helper()
	cfg := splitting(quick())
	cfg.Up = Up{}
	ctx, cancel := context.WithCancel(t.Context())
	d, err := newDeployment(ctx, &cfg, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, ln, func() {}) }()
	defer func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run = %v", err)
		}
		d.close()
	}()
	resp, err := post(t.Context(), http.DefaultClient, "http://"+ln.Addr().String()+chatPath, goodChat)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readAll(t, resp)
}
