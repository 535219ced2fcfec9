package enginesim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/pipenet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testModel = "baton/simulated"

// rig is engines on one network in memory, inside a bubble.
type rig struct {
	t      *testing.T
	net    *pipenet.Net
	client *http.Client
}

// inBubble runs f with a rig in virtual time.
func inBubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: pipenet.New()}
		transport := &http.Transport{DialContext: r.net.Dial, MaxIdleConnsPerHost: 100}
		r.client = &http.Client{Transport: transport}
		t.Cleanup(transport.CloseIdleConnections)
		f(r)
	})
}

// sim is a running engine.
type sim struct {
	*Engine
	rig  *rig
	url  string
	stop func()
}

func (r *rig) start(role string, change func(c *Config)) *sim {
	r.t.Helper()
	cfg := DefaultConfig()
	cfg.Role, cfg.Model = role, testModel
	if change != nil {
		change(&cfg)
	}
	listen := func(_, addr string) (net.Listener, error) { return r.net.Listen(addr) }
	e, err := New(cfg, Options{Listen: listen, Dial: r.net.Dial})
	if err != nil {
		r.t.Fatal(err)
	}
	ln, err := r.net.Listen("127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx, ln) }()
	synctest.Wait()
	stopped := false
	s := &sim{Engine: e, rig: r, url: "http://" + ln.Addr().String()}
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		begun := time.Now()
		cancel()
		if err := <-ran; err != nil {
			r.t.Errorf("Run = %v", err)
		}
		if took := time.Since(begun); took > time.Second {
			r.t.Errorf("Run ended %v after its context", took)
		}
	}
	r.t.Cleanup(s.stop)
	return s
}

// answered is what a test reads of an answer, streamed or not.
type answered struct {
	status int
	raw    []byte
	header http.Header
	events [][]byte
	Error  *struct {
		Message, Type string
		Param         *string
		Code          int
	}
	Choices []struct {
		Index        int
		Text         string
		Message      struct{ Content string }
		FinishReason string `json:"finish_reason"`
		StopReason   string `json:"stop_reason"`
	}
	Usage struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		Details          struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
	KV json.RawMessage `json:"kv_transfer_params"`
}

func (a answered) text() string {
	if len(a.Choices) == 0 {
		return ""
	}
	return a.Choices[0].Text + a.Choices[0].Message.Content
}

func (s *sim) post(ctx context.Context, path, body string) (answered, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", "r1")
	resp, err := s.rig.client.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	a := answered{status: resp.StatusCode, header: resp.Header}
	if a.raw, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		for lines := bufio.NewScanner(bytes.NewReader(a.raw)); lines.Scan(); {
			if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok {
				a.events = append(a.events, bytes.Clone(data))
			}
		}
		return a, nil
	}
	return a, json.Unmarshal(a.raw, &a)
}

// must is post of a request that cannot fail.
func (s *sim) must(path, body string) answered {
	s.rig.t.Helper()
	a, err := s.post(s.rig.t.Context(), path, body)
	if err != nil {
		s.rig.t.Fatalf("POST %s: %v", path, err)
	}
	return a
}

// completion is a body for /v1/completions; more has members with a comma before each.
func completion(prompt string, tokens int, more string) string {
	return fmt.Sprintf(`{"model":"baton/simulated","prompt":%q,"max_tokens":%d,"ignore_eos":true%s}`, prompt, tokens, more)
}

// words is a prompt of so many tokens.
func words(name string, tokens int) string {
	return strings.Repeat(fmt.Sprintf("%-4s", name), tokens)
}

// weather is a chat with two tools, whose last message mentions the first one; it comes behind
// the messages before, each with a comma behind it. more has members with a comma before each.
func weather(before, more string) string {
	return `{"model":"baton/simulated","messages":[` + before + `{"role":"user","content":"Call get_weather, please."}],"tools":[
{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":7}},"required":["city"]}}},
{"type":"function","function":{"name":"get_time"}}]` + more + `}`
}

const askHandle = `,"kv_transfer_params":{"do_remote_decode":true}`

// prefill returns the handle for a prompt, as a member.
func (s *sim) prefill(prompt string) string {
	s.rig.t.Helper()
	a := s.must(pathCompletions, completion(prompt, 1, askHandle))
	if string(a.KV) == "null" {
		s.rig.t.Fatalf("prefill gave no handle: %s", a.raw)
	}
	return `,"kv_transfer_params":` + string(a.KV)
}

func proofOf(t *testing.T, path, body string, n int) string {
	t.Helper()
	digest, err := Digest(path, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return Proof(digest, n)
}

// clean reports what an engine without requests still holds.
func (s *sim) clean() {
	s.rig.t.Helper()
	synctest.Wait()
	if st := s.Stats(); st.Running+st.Waiting+st.KVUsedTokens+st.PinnedBlocks != 0 {
		s.rig.t.Errorf("an idle engine holds %+v", st)
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }
