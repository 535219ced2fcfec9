package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/api/spec/spectest"
	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/wire"
	"golang.org/x/sync/errgroup"
)

const (
	chatPath        = "/v1/chat/completions"
	completionsPath = "/v1/completions"
)

// body is a request with the member as its last one. Its spacing, order and escapes are odd, since
// all that must come through.
func (m *member) body(path, model string) string {
	base := `{ "model" :` + "\t" + `"` + model + `"`
	if m.name == "model" {
		base = `{ "z":1`
	}
	switch {
	case path == chatPath && m.name != "messages":
		base += ` , "messages":[{"content":"caf\u00e9 \/","role":"user"}]`
	case path == completionsPath && m.name != "prompt":
		base += ` , "prompt":"caf\u00e9 \/"`
	}
	if m.with != "" {
		base += ", " + m.with
	}
	return base + fmt.Sprintf(`,%q : %s}`, m.name, m.value)
}

// check tells in what way the answer, or what the engines got, is not what the fate says.
func (m *member) check(f fate, body string, status int, answer string, legs []engineCall) error {
	switch f {
	case refused, missing:
		param := m.name
		if m.param != "" {
			param = m.param
		}
		var told struct{ Error struct{ Param any } }
		if err := json.Unmarshal([]byte(answer), &told); err != nil {
			return err
		}
		if told.Error.Param == nil {
			told.Error.Param = "null"
		}
		if fmt.Sprint(status) != string(f) || told.Error.Param != param || len(legs) > 0 {
			return fmt.Errorf("answer is %d %s and %d calls reached engines, want %s of %s and none", status, answer, len(legs), f, param)
		}
		return nil
	case whole:
		if status != http.StatusOK || len(legs) != 1 || legs[0].role != wire.RoleDecode || legs[0].body != body {
			return fmt.Errorf("answer is %d %s and engines got %q, want the body once at a decode engine", status, answer, legs)
		}
		return nil
	default:
		if status != http.StatusOK || len(legs) != 2 || legs[0].role != wire.RolePrefill || legs[1].role != wire.RoleDecode {
			return fmt.Errorf("answer is %d %s and engines got %q, want a prefill and a decode leg", status, answer, legs)
		}
		return errors.Join(m.checkPrefill(f, body, legs[0].body), checkDecode(f, body, legs[1].body))
	}
}

// checkPrefill sees to the member itself and to what makes the prompt.
func (m *member) checkPrefill(f fate, body, leg string) error {
	sent, err := rawjson.Parse([]byte(body))
	if err != nil {
		return err
	}
	got, err := rawjson.Parse([]byte(leg))
	if err != nil {
		return err
	}
	for _, name := range []string{"model", "messages", "prompt", m.name} {
		want, _ := sent.Get(name)
		if name == m.name {
			want = map[fate]rawjson.Value{passes: want, one: rawjson.Value("1"), counted: rawjson.Value("false")}[f] // else none
		}
		if value, _ := got.Get(name); string(value) != string(want) {
			err = errors.Join(err, fmt.Errorf("%s is %s on the prefill leg, want %s", name, value, want))
		}
	}
	return err
}

// checkDecode wants the client's bytes with the handle, and what asks for counts, as further members.
func checkDecode(f fate, body, leg string) error {
	want := map[string]bool{"kv_transfer_params": true, "stream_options": f == counted}
	if f == turned {
		body = regexp.MustCompile(`"include_usage":(true|false)`).ReplaceAllString(body, `"include_usage":true,"continuous_usage_stats":true`)
	}
	rest, ok := strings.CutPrefix(leg, strings.TrimSuffix(body, "}")+",")
	if !ok {
		return fmt.Errorf("the decode leg is %s, want all of %s", leg, body)
	}
	added, err := rawjson.Parse([]byte("{" + rest))
	if err != nil {
		return err
	}
	for name := range added.Names() {
		if !want[name] {
			err = errors.Join(err, fmt.Errorf("%s was added to the decode leg", name))
		}
	}
	return err
}

// tappedUp is a deployment with its description and with a tap on what its engines get.
type tappedUp struct {
	base        string
	deployment  *deployment
	tap         *tap
	description *spectest.Description
}

func startTapped(t *testing.T, cfg Config) *tappedUp {
	t.Helper()
	// Workers then go on where their engines fail, and none counts as dead on a slow machine: what
	// reaches the engines is the same each time.
	cfg.Worker.Announce = time.Minute
	up := &tappedUp{tap: &tap{}}
	up.base, up.deployment = startUpOn(t, cfg, network{listen: net.Listen, dial: up.tap.dial})
	resp, text, err := up.send(t, http.MethodGet, "/openapi.json", "")
	if err != nil {
		t.Fatal(err)
	}
	if up.description, err = spectest.Read([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := up.description.Check(http.MethodGet, "/openapi.json", resp, text); err != nil {
		t.Error(err)
	}
	return up
}

// send makes a request and reads its whole answer; header alternates names and values.
func (up *tappedUp) send(t *testing.T, method, path, body string, header ...string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, up.base+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// memberCase is one member sent to one endpoint.
type memberCase struct {
	*member
	path, id string
	fate     fate
	sent     string
	status   int
	answer   string
}

func TestOpenAIDocMembers(t *testing.T) {
	cfg := splitting(quick())
	up := startTapped(t, cfg)
	var cases []*memberCase
	for _, list := range [][]member{acted, passed} {
		for i := range list {
			for path, f := range map[string]fate{chatPath: list[i].chat, completionsPath: list[i].completions} {
				if f != absent {
					cases = append(cases, &memberCase{
						member: &list[i], path: path, id: fmt.Sprintf("case%d", len(cases)), fate: f, sent: list[i].body(path, cfg.Sim.Model),
					})
				}
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, c := range cases {
		g.Go(func() error {
			resp, text, err := up.send(t, http.MethodPost, c.path, c.sent, "X-Request-Id", c.id)
			if err != nil {
				return err
			}
			c.status, c.answer = resp.StatusCode, text
			if err := up.description.Check(http.MethodPost, c.path, resp, text); err != nil {
				t.Errorf("%s %s: %v", c.path, c.sent, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	calls := up.tap.calls(t, up.deployment)
	for _, c := range cases {
		if err := c.check(c.fate, c.sent, c.status, c.answer, calls[c.id]); err != nil {
			t.Errorf("%s with %s %s: %v", c.path, c.name, c.value, err)
		}
	}
	nothingHeld(t, up.deployment)

	rows := []string{"| member | sent | `/v1/chat/completions` | `/v1/completions` | why |", "|---|---|---|---|---|"}
	for _, m := range acted {
		sent := "`" + m.value + "`"
		if m.with != "" {
			sent += " with `" + m.with + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", m.name, sent, m.chat, m.completions, m.why))
	}
	inDoc(t, "members that baton acts on", rows)
	rows = []string{"| member | sent in the test | `/v1/chat/completions` | `/v1/completions` |", "|---|---|---|---|"}
	for _, m := range passed {
		rows = append(rows, fmt.Sprintf("| `%s` | `%s` | %s | %s |", m.name, m.value, m.chat, m.completions))
	}
	inDoc(t, "members that pass", rows)
}

func TestOtherEndpointsRunWholeByteForByte(t *testing.T) {
	up := startTapped(t, splitting(quick()))
	const message = `{ "model":"meta-llama/Meta-Llama-3.1-70B-Instruct","messages":[{"role":"user","content":"hi"}],"max_tokens":9`
	for i, c := range []struct{ path, body string }{
		{"/v1/embeddings", `{ "input":["caf\u00e9","b"],"brand_new":9007199254740993}`},
		{"/tokenize", `{ "prompt":"caf\u00e9","stream":true}`},
		{"/detokenize", `{ "tokens":[ 1,2]}`},
		{"/v1/responses", `{ "input":"caf\u00e9","brand_new":9007199254740993}`},
		{"/v1/responses", `{ "input":"caf\u00e9","stream":true}`},
		{"/v1/messages", message + `}`},
		{"/v1/messages", message + `,"stream":true}`},
	} {
		id := fmt.Sprintf("other%d", i)
		resp, text, err := up.send(t, http.MethodPost, c.path, c.body, "X-Request-Id", id)
		if err != nil {
			t.Fatal(err)
		}
		legs := up.tap.calls(t, up.deployment)[id]
		if len(legs) != 1 || legs[0] != (engineCall{wire.RoleDecode, c.path, c.body}) || resp.StatusCode != http.StatusOK {
			t.Errorf("answer of %s is %d %s and engines got %q", c.path, resp.StatusCode, text, legs)
		}
		if err := up.description.Check(http.MethodPost, c.path, resp, text); err != nil {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

func TestReadingEndpointsAreAsDescribed(t *testing.T) {
	up := startTapped(t, splitting(quick()))
	const one = "/v1/models/{model}"
	for _, c := range []struct{ path, described string }{
		{"/v1/models", "/v1/models"},
		{"/v1/models/meta-llama/Meta-Llama-3.1-70B-Instruct", one},
		{"/v1/models/meta-llama%2FMeta-Llama-3.1-70B-Instruct", one},
		{"/v1/models/none", one},
		{"/health", "/health"},
		{"/healthz", "/healthz"},
		{"/ping", "/ping"},
		{"/readyz", "/readyz"},
		{"/version", "/version"},
		{"/metrics", "/metrics"},
	} {
		resp, text, err := up.send(t, http.MethodGet, c.path, "")
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusOK
		if c.path == "/v1/models/none" {
			want = http.StatusNotFound
		}
		if resp.StatusCode != want {
			t.Errorf("GET %s is %d %s, want %d", c.path, resp.StatusCode, text, want)
		}
		if err := up.description.Check(http.MethodGet, c.described, resp, text); err != nil {
			t.Errorf("GET %s: %v", c.path, err)
		}
	}
}
