package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bearer sends a key with every request.
type bearer struct {
	key  string
	next http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.key)
	return b.next.RoundTrip(r)
}

// newKey makes a key as `baton keys new --append FILE` does and adds more lines to its entry.
func newKey(t *testing.T, file, name string, more ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := NewKey(&out, name, "", file); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range more {
		fmt.Fprintf(f, "    %s\n", line)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// refusal reads an answer in OpenAI's form of an error.
func refusal(t *testing.T, client *http.Client, base, body string) (resp *http.Response, message string) {
	t.Helper()
	resp, err := post(t.Context(), client, base+"/v1/chat/completions", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error struct {
			Message string
			Code    int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error.Code != resp.StatusCode {
		t.Fatalf("status %d, error %+v, %v", resp.StatusCode, answer, err)
	}
	return resp, answer.Error.Message
}

func TestKeysGuardAWholeDeployment(t *testing.T) {
	cfg := quick()
	cfg.API.Auth.KeysFile = filepath.Join(t.TempDir(), "keys.yaml")
	key := newKey(t, cfg.API.Auth.KeysFile, "acme", "limits: {requests_per_minute: 2}")
	base, _ := startUp(t, cfg)
	body := chatBody(cfg.Sim.Model, "hello", 5)

	for what, client := range map[string]*http.Client{
		"no key":    http.DefaultClient,
		"wrong key": {Transport: bearer{"baton-" + strings.Repeat("a", 32), http.DefaultTransport}},
	} {
		if resp, message := refusal(t, client, base, body); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(message, "API key") {
			t.Errorf("%s: status %d, %s", what, resp.StatusCode, message)
		}
	}

	client := &http.Client{Transport: bearer{key, http.DefaultTransport}}
	for range 2 {
		got, err := streamChat(t.Context(), client, base, body)
		if want := proof(t, body, 5); err != nil || got != want {
			t.Errorf("the right key: text %q, %v, want %q", got, err, want)
		}
	}
	resp, message := refusal(t, client, base, body)
	wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 30 || !strings.Contains(message, "2 requests a minute") {
		t.Errorf("the third request: status %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), message)
	}
}

// Who comes back when they were told is let in, through the whole pipeline and in virtual time.
func TestRetryAfterIsTrue(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	key := newKey(t, file, "acme", "limits: {tokens_per_minute: 1000}")
	cfg := DefaultConfig()
	cfg.Up.Prefill, cfg.Up.Decode = 1, 1
	cfg.Log.Level = 8
	cfg.API.Auth.KeysFile = file
	inVirtualTime(t, cfg, func(t *testing.T, client *http.Client, base string) {
		client = &http.Client{Transport: bearer{key, client.Transport}}
		body := chatBody(cfg.Sim.Model, "hello", 400)
		refused := 0
		for range 6 {
			if _, err := streamChat(t.Context(), client, base, body); err == nil {
				continue
			}
			refused++
			resp, message := refusal(t, client, base, body)
			wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if resp.StatusCode != http.StatusTooManyRequests || err != nil {
				t.Errorf("status %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), message)
				break
			}
			time.Sleep(time.Duration(wait-1) * time.Second) // the whole second before is too early
			if early, err := post(t.Context(), client, base+"/v1/chat/completions", body); err != nil || early.StatusCode != http.StatusTooManyRequests {
				t.Errorf("a second early: %v, %v", early, err)
			} else {
				_, _ = io.Copy(io.Discard, early.Body)
				_ = early.Body.Close()
			}
			time.Sleep(time.Second)
			if _, err := streamChat(t.Context(), client, base, body); err != nil {
				t.Errorf("after the %d s that it was told: %v", wait, err)
			}
		}
		if refused == 0 {
			t.Error("nothing was refused; the test says nothing")
		}
	})
}

func TestStartWithoutKeysOnAPublicAddress(t *testing.T) {
	cfg := quick()
	cfg.API.Listen = ":0"
	for name, run := range map[string]func() error{
		"up":       func() error { return RunUp(t.Context(), &cfg, io.Discard, io.Discard) },
		"frontend": func() error { return RunFrontend(t.Context(), &cfg, io.Discard) },
	} {
		if err := run(); err == nil || !strings.Contains(err.Error(), "BATON_API_KEYS") {
			t.Errorf("%s = %v, want an error that says what to do", name, err)
		}
	}
}

func TestHashOfAKey(t *testing.T) {
	var key, hash bytes.Buffer
	if err := NewKey(&key, "acme", "standard", ""); err != nil {
		t.Fatal(err)
	}
	first, entry, _ := strings.Cut(key.String(), "\n")
	if err := HashKey(strings.NewReader(first+"\n"), &hash); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(entry, "hash: "+strings.TrimSpace(hash.String())) || !strings.Contains(entry, "class: standard") || strings.Contains(entry, first) {
		t.Errorf("hash %s, entry %s", &hash, entry)
	}
	if err := HashKey(strings.NewReader("short\n"), &hash); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a bad key: %v", err)
	}
}
