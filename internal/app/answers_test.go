package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/wire"
)

// ask posts body and returns the whole answer; header alternates names and values.
func ask(t *testing.T, client *http.Client, url, body string, header ...string) (status int, text string) {
	t.Helper()
	resp := send(t, client, url, body, header...)
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

func send(t *testing.T, client *http.Client, url, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// recorder keeps all that goes over the connections it opens.
type recorder struct {
	mu    sync.Mutex
	conns []*recorded
}

type recorded struct {
	net.Conn
	r       *recorder
	in, out bytes.Buffer // what was read and written; r.mu guards them
}

func (r *recorder) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &recorded{Conn: conn, r: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, c)
	return c, nil
}

func (c *recorded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.in.Write(p[:n])
	return n, err
}

func (c *recorded) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.out.Write(p[:n])
	return n, err
}

// posted returns the POST requests so far, without their bodies.
func (r *recorder) posted() (found []*http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		out := bufio.NewReader(bytes.NewReader(conn.out.Bytes()))
		for {
			req, err := http.ReadRequest(out)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, req.Body) // one that is under way is cut short
			if req.Method == http.MethodPost {
				found = append(found, req)
			}
		}
	}
	return found
}

// bodies returns the bodies of the answers so far that have part in them.
func (r *recorder) bodies(part string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		in := bufio.NewReader(bytes.NewReader(conn.in.Bytes()))
		for {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			body, _ := io.ReadAll(resp.Body) // one that is under way is cut short
			if strings.Contains(string(body), part) {
				found = append(found, string(body))
			}
		}
	}
	return found
}

// What the decode engine sends is what the client gets, byte for byte, but for the members and the
// event that are documented to be taken out.
func TestAnswersAreTheEnginesBytes(t *testing.T) {
	cfg := splitting(quick())
	record := &recorder{}
	base, _ := startUpOn(t, cfg, network{listen: net.Listen, dial: record.dial})
	for name, c := range map[string]struct {
		members, path string
		change        func(sent string) string
	}{
		"chat":            {`"messages":[{"role":"user","content":"hi"}]`, "/v1/chat/completions", withoutParams},
		"choices":         {`"messages":[{"role":"user","content":"hi"}],"n":2`, "/v1/chat/completions", withoutParams},
		"completion":      {`"prompt":"hi","logprobs":2`, "/v1/completions", withoutParams},
		"embedding":       {`"input":"hi"`, "/v1/embeddings", func(s string) string { return s }},
		"response":        {`"input":"hi","max_output_tokens":7`, "/v1/responses", withoutParams},
		"response stream": {`"input":"hi","max_output_tokens":7,"stream":true`, "/v1/responses", withoutParams},
		"message":         {`"messages":[{"role":"user","content":"hi"}]`, "/v1/messages", withoutParams},
		"message stream":  {`"messages":[{"role":"user","content":"hi"}],"stream":true`, "/v1/messages", func(s string) string { return s }},
		"stream":          {`"prompt":"hi","stream":true`, "/v1/completions", withoutUsage},
		"chat stream":     {`"messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":null`, "/v1/chat/completions", withoutUsage},
		"counted": {
			`"messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`,
			"/v1/chat/completions", func(s string) string { return s },
		},
	} {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(`{"model":%q,"max_tokens":7,"ignore_eos":true,%s}`, cfg.Sim.Model, c.members)
			status, got := ask(t, http.DefaultClient, base+c.path, body)
			if status != http.StatusOK {
				t.Fatalf("answer is %d %s", status, got)
			}
			_, id, _ := strings.Cut(got, `"id":"`)
			id, _, _ = strings.Cut(id, `"`)
			matches := 0
			for _, sent := range record.bodies(`"id":"` + id + `"`) {
				want := c.change(sent)
				if want == sent && strings.Contains(sent, params) {
					t.Errorf("the engine sent %s, in which there is nothing to change", sent)
				}
				if want == got {
					matches++
				}
			}
			if matches != 1 {
				t.Errorf("%d answers of engines are, with the documented changes, what the client got:\n%s\nengines sent %q", matches, got, record.bodies(id))
			}
			if strings.Contains(got, "_transfer_params") {
				t.Errorf("the client got %s", got)
			}
		})
	}
}

const params = `,"kv_transfer_params":null`

func withoutParams(sent string) string {
	return strings.NewReplacer(params, "", `,"ec_transfer_params":null`, "").Replace(sent)
}

// withoutUsage takes out the event and the counts that baton asked for and the client did not.
func withoutUsage(sent string) string {
	var kept []string
	for block := range strings.SplitSeq(sent, "\n\n") {
		if !strings.Contains(block, `"choices":[],"usage":`) {
			kept = append(kept, counts.ReplaceAllString(block, ""))
		}
	}
	return strings.Join(kept, "\n\n")
}

var counts = regexp.MustCompile(`,"usage":\{[^}]*\}`)

// faults makes all engines of a role fail.
func (d *deployment) faults(role wire.Role, f enginesim.Faults) {
	for _, s := range d.engines {
		if s.role == role {
			s.engine.SetFaults(f)
		}
	}
}

func TestFaultsOfEnginesHaveAStatus(t *testing.T) {
	cfg := splitting(quick())
	cfg.Up = Up{Prefill: 1, Decode: 1}
	cfg.Sim.Lease, cfg.Prefill.Lease = 5*time.Second, 5*time.Second // what a decode engine refuses to take is held for so long
	base, d := startUp(t, cfg)
	for name, c := range map[string]struct {
		role     wire.Role
		faults   enginesim.Faults
		status   int
		contains string
	}{
		"decode answers garbage":    {wire.RoleDecode, enginesim.Faults{Garbage: true}, 502, "failed 3 times"},
		"prefill answers garbage":   {wire.RolePrefill, enginesim.Faults{Garbage: true}, 502, "failed 3 times"},
		"decode is unwell":          {wire.RoleDecode, enginesim.Faults{Status: 503}, 503, "injected fault"},
		"prefill is unwell":         {wire.RolePrefill, enginesim.Faults{Status: 500}, 500, "injected fault"},
		"decode refuses":            {wire.RoleDecode, enginesim.Faults{Status: 422}, 422, "injected fault"},
		"the transfer is refused":   {wire.RolePrefill, enginesim.Faults{RefuseTransfer: true}, 500, `"type":"InternalServerError"`}, // a stream's first event is this error
		"prefill gives no handle":   {wire.RolePrefill, enginesim.Faults{NoHandle: true}, 502, "kv-transfer-config"},
		"every other call, retried": {wire.RoleDecode, enginesim.Faults{Status: 500, Every: 2}, 200, `"choices"`},
	} {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stream %v", name, stream), func(t *testing.T) {
				d.faults(c.role, c.faults)
				defer d.faults(c.role, enginesim.Faults{})
				body := chatBody(cfg.Sim.Model, name, 5)
				if !stream {
					body = strings.Replace(body, `"stream":true`, `"stream":false`, 1)
				}
				for range 2 {
					status, text := ask(t, http.DefaultClient, base+"/v1/chat/completions", body)
					if status != c.status || !strings.Contains(text, c.contains) || status != 200 && !strings.HasPrefix(text, `{"error":`) {
						t.Errorf("answer is %d %s, want %d with %q", status, text, c.status, c.contains)
					}
					if strings.Contains(text, "127.0.0.1") {
						t.Errorf("the client hears of an engine's address: %s", text)
					}
				}
			})
		}
	}
	nothingHeld(t, d)
}

func TestStreamThatIsCutEndsWithAnError(t *testing.T) {
	cfg := splitting(quick())
	base, d := startUp(t, cfg)
	d.faults(wire.RoleDecode, enginesim.Faults{CutAfter: 3})
	for path, c := range map[string]struct{ members, end string }{
		"/v1/chat/completions": {`"messages":[{"role":"user","content":"hi"}]`, "data: {\"error\":{\"message\":\"[^\n]*\n\ndata: \\[DONE\\]\n\n"},
		"/v1/completions":      {`"prompt":"hi"`, "data: {\"error\":{\"message\":\"[^\n]*\n\ndata: \\[DONE\\]\n\n"},
		"/v1/messages":         {`"messages":[{"role":"user","content":"hi"}]`, "event: error\ndata: {\"type\":\"error\",\"error\":[^\n]*\n\n"},
		"/v1/responses":        {`"input":"hi"`, "event: error\ndata: {\"type\":\"error\",\"error\":[^\n]*\n\n"},
	} {
		body := fmt.Sprintf(`{"model":%q,"stream":true,"max_tokens":50,"max_output_tokens":50,%s}`, cfg.Sim.Model, c.members)
		status, text := ask(t, http.DefaultClient, base+path, body)
		if whole := regexp.MustCompile("^(event: .*\n)?data: (?s:.*)\n\n" + c.end + "$"); status != http.StatusOK || !whole.MatchString(text) {
			t.Errorf("%s: answer is %d %q, want some of it, then an error, then the end", path, status, text)
		}
	}
	nothingHeld(t, d)
}

func TestEngineThatIsGoneIsNotNamed(t *testing.T) {
	cfg := quick()
	cfg.Up = Up{Prefill: 1, Decode: 1}
	cfg.Router.Attempts = 1 // the next one would go to the other engine
	closed := make(chan struct{})
	base, d := startUpOn(t, cfg, network{listen: net.Listen, dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-closed:
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1") // nobody listens there
		default:
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}})
	close(closed)
	d.faults(wire.RoleDecode, enginesim.Faults{Crash: true}) // breaks the connections that are open
	status, text := ask(t, http.DefaultClient, base+"/v1/chat/completions", chatBody(cfg.Sim.Model, "hi", 5), "X-Baton-Deadline-Ms", "20000")
	if status < 500 || !strings.HasPrefix(text, `{"error":{"message":"`) || strings.Contains(text, "127.0.0.1") {
		t.Errorf("answer is %d %s, want an error that names no address", status, text)
	}
}

func TestTimingHeadersTellThePath(t *testing.T) {
	body := func(cfg Config) string { return chatBody(cfg.Sim.Model, "hi", 5) }
	for name, c := range map[string]struct {
		cfg       Config
		body      func(Config) string
		path, why string
		counts    bool // tokens of the prompt are known for certain when the headers go out
	}{
		"split": {splitting(quick()), body, "split", "split", true},
		"short": {quick(), body, "whole", "short", false},
		"two choices": {
			splitting(quick()),
			func(cfg Config) string { return strings.Replace(body(cfg), `"stream":true`, `"stream":false,"n":2`, 1) },
			"whole", "whole", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			base, d := startUp(t, c.cfg)
			resp := send(t, http.DefaultClient, base+"/v1/chat/completions", c.body(c.cfg), "X-Baton-Timing", "1")
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			h := resp.Header
			if h.Get("X-Baton-Path") != c.path || h.Get("X-Baton-Why") != c.why || h.Get("X-Baton-Dispatch-Ms") == "" ||
				h.Get("X-Baton-Attempts") != "1" || h.Get("X-Baton-Ttft-Ms") == "" || h.Get("X-Baton-Queue-Ms") == "" {
				t.Errorf("headers are %v", h)
			}
			if got := h.Get("X-Baton-Prefill-Worker") != ""; got != (c.path == "split") {
				t.Errorf("a %s answer names its prefill worker: %v", c.path, got)
			}
			if tokens := h.Get("X-Baton-Prompt-Tokens"); c.counts && (tokens == "" || tokens == "0") {
				t.Errorf("the answer has %q prompt tokens", tokens)
			}
			if !slices.ContainsFunc(d.engines, func(s *simulated) bool { return s.worker == h.Get("X-Baton-Decode-Worker") }) {
				t.Errorf("decode worker is %q", h.Get("X-Baton-Decode-Worker"))
			}
		})
	}
}

func TestEngineKeyIsBatonsAndNotTheClients(t *testing.T) {
	cfg := quick()
	cfg.Up = Up{Prefill: 1, Decode: 1}
	cfg.Sim.APIKey, cfg.Engine.APIKey = "the-engines", "the-engines"
	base, _ := startUp(t, cfg)
	status, text := ask(t, http.DefaultClient, base+"/v1/chat/completions", chatBody(cfg.Sim.Model, "hi", 5), "Authorization", "Bearer the-clients")
	if status != http.StatusOK || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("answer is %d %s", status, text)
	}
}
