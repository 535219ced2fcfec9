package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goopenai "github.com/sashabaranov/go-openai"

	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// Keys of the tests.
const (
	freeKey    = "free-key-0123456789"
	limitedKey = "limited-key-0123456789"
	batchKey   = "batch-key-0123456789"
)

// startGuarded serves with the keys above; members are limitedKey's, as lines of the keys file.
func startGuarded(t *testing.T, r Router, f Fleet, members string) *harness {
	t.Helper()
	return startWith(t, r, f, keyring(t, members), nil)
}

func keyring(t *testing.T, members string) *auth.Keyring {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	text := fmt.Sprintf("keys:\n  - {name: free, hash: %s}\n  - {name: night, hash: %s, class: batch}\n  - name: acme\n    hash: %s\n%s\n",
		auth.DigestOf(freeKey), auth.DigestOf(batchKey), auth.DigestOf(limitedKey), members)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := auth.New(auth.Config{KeysFile: file}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// counting is an Answer whose engine counts.
type counting struct {
	*script
	usage wire.EndInfo
}

func (c counting) Usage() wire.EndInfo { return c.usage }

func TestPathsThatNeedAKey(t *testing.T) {
	h := startGuarded(t, answering(newScript(nil, "{}")), oneModel, "")
	for _, path := range []string{"/health", "/healthz", "/ping", "/readyz", "/version", "/metrics", "/openapi.json"} {
		if resp, _ := h.do(t, "GET", path, ""); resp.StatusCode != http.StatusOK {
			t.Errorf("%s without a key is %d", path, resp.StatusCode)
		}
	}
	for _, c := range []struct{ method, path string }{
		{"POST", chatPath},
		{"POST", "/v1/completions"},
		{"POST", "/v1/embeddings"},
		{"POST", "/v1/responses"},
		{"POST", "/v1/messages"},
		{"POST", "/tokenize"},
		{"POST", "/detokenize"},
		{"GET", "/v1/models"},
		{"HEAD", "/v1/models"},
		{"GET", "/v1/models/m"},
		{"GET", "/v1/none"},
		{"GET", "/health/"},
		{"GET", "//v1/models"},
		{"GET", "/%761/models"},
		{"OPTIONS", chatPath},
	} {
		if resp, text := h.do(t, c.method, c.path, ""); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s without a key is %d %s", c.method, c.path, resp.StatusCode, text)
		}
	}
	if resp, _ := h.do(t, "GET", "/v1/models", "", "Authorization", "Bearer "+freeKey); resp.StatusCode != http.StatusOK {
		t.Errorf("the models with a key are %d", resp.StatusCode)
	}
}

func TestWrongKeys(t *testing.T) {
	r := empty()
	h := startGuarded(t, r, oneModel, "    disabled: true")
	for _, c := range []struct {
		name, path string
		header     []string
		want       string
	}{
		{"none", chatPath, nil, "No API key was sent"},
		{"another scheme", chatPath, []string{"Authorization", "Basic " + freeKey}, "malformed"},
		{"unknown", chatPath, []string{"Authorization", "Bearer wrong-key-0123456789"}, "not known"},
		{"disabled", chatPath, []string{"Authorization", "Bearer " + limitedKey}, "disabled"},
		{"Anthropic's header on another route", chatPath, []string{"X-Api-Key", freeKey}, "No API key was sent"},
		{"a wrong one in Anthropic's header", "/v1/messages", []string{"X-Api-Key", "wrong-key-0123456789"}, "not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, text := h.do(t, "POST", c.path, chatBody, c.header...)
			if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("Www-Authenticate") != "Bearer" {
				t.Errorf("answer is %d, WWW-Authenticate %q", resp.StatusCode, resp.Header.Get("Www-Authenticate"))
			}
			if !strings.HasPrefix(text, `{"error":{"message":"`) || !strings.HasSuffix(text, `","type":"AuthenticationError","param":null,"code":401}}`) ||
				!strings.Contains(text, c.want) || strings.Contains(text, "0123456789") {
				t.Errorf("body is %s", text)
			}
		})
	}
	for path, header := range map[string][]string{
		chatPath: {"Authorization", "bearer " + freeKey}, "/v1/messages": {"X-Api-Key", freeKey},
	} {
		if resp, text := h.do(t, "POST", path, chatBody, header...); resp.StatusCode != http.StatusOK {
			t.Errorf("%s with a good key is %d %s", path, resp.StatusCode, text)
		}
	}
	if resp, _ := h.do(t, "POST", "/v1/messages/none", "", "X-Api-Key", freeKey); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a path below /v1/messages with a good key is %d", resp.StatusCode)
	}
	if n := r.calls.Load(); n != 2 {
		t.Errorf("the router got %d requests, want the 2 with a good key", n)
	}
	if strings.Contains(h.log.String(), "0123456789") {
		t.Errorf("the log holds a key: %s", h.log)
	}
	h.metric(t, "baton_api_refused_total", 2, "tenant", "", "reason", "unknown_key")
}

// A stranger's body is not waited for.
func TestKeyIsCheckedBeforeTheBody(t *testing.T) {
	h := startGuarded(t, failing(errors.New("called")), oneModel, "")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", chatPath); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64<<10)
	n, err := conn.Read(answer)
	if text := string(answer[:n]); err != nil || !strings.HasPrefix(text, "HTTP/1.1 401 ") || !strings.Contains(text, "Connection: close") {
		t.Errorf("answer is %q, %v", text, err)
	}
}

func TestClassOfAKey(t *testing.T) {
	for _, c := range []struct {
		name, key, asked string
		status           int
		class            wire.Class
	}{
		{"a key without one", freeKey, "", 200, wire.Interactive},
		{"less than it may", freeKey, "batch", 200, wire.Batch},
		{"its own", batchKey, "", 200, wire.Batch},
		{"its own, said", batchKey, "batch", 200, wire.Batch},
		{"more than it may", batchKey, "standard", 403, 0},
		{"one there is not", batchKey, "urgent", 400, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := answering(newScript(nil, "{}"))
			h := startGuarded(t, r, oneModel, "")
			header := []string{"Authorization", "Bearer " + c.key}
			if c.asked != "" {
				header = append(header, classHeader, c.asked)
			}
			resp, text := h.do(t, "POST", chatPath, chatBody, header...)
			if resp.StatusCode != c.status {
				t.Fatalf("answer is %d %s, want %d", resp.StatusCode, text, c.status)
			}
			if c.status == http.StatusOK && r.last.Load().Class != c.class {
				t.Errorf("class is %v, want %v", r.last.Load().Class, c.class)
			}
			if c.status == http.StatusForbidden && !strings.Contains(text, `"type":"PermissionDeniedError","param":"X-Baton-Class","code":403`) {
				t.Errorf("body is %s", text)
			}
		})
	}
}

func TestModelsOfAKey(t *testing.T) {
	h := startGuarded(t, answering(newScript(nil, "{}")), fakeFleet{{ID: "m"}, {ID: "other"}}, "    models: [m]")
	key := []string{"Authorization", "Bearer " + limitedKey}
	if resp, text := h.do(t, "POST", chatPath, chatBody, key...); resp.StatusCode != http.StatusOK {
		t.Errorf("its model is %d %s", resp.StatusCode, text)
	}
	other := strings.Replace(chatBody, `"m"`, `"other"`, 1)
	if resp, text := h.do(t, "POST", chatPath, other, key...); resp.StatusCode != http.StatusNotFound || !strings.Contains(text, `"param":"model"`) {
		t.Errorf("another model is %d %s", resp.StatusCode, text)
	}
	if _, text := h.do(t, "GET", "/v1/models", "", key...); !strings.Contains(text, `"id":"m"`) || strings.Contains(text, "other") {
		t.Errorf("the list is %s", text)
	}
	if resp, _ := h.do(t, "GET", "/v1/models/other", "", key...); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the entry of another model is %d", resp.StatusCode)
	}
	if _, text := h.do(t, "GET", "/v1/models", "", "Authorization", "Bearer "+freeKey); !strings.Contains(text, "other") {
		t.Errorf("the list for a key that may use all is %s", text)
	}
}

func TestTenantIsKnownBehindTheAPI(t *testing.T) {
	usage := wire.EndInfo{PromptTokens: 7, CompletionTokens: 5}
	r := answering(counting{newScript(nil, `{}`), usage})
	h := startGuarded(t, r, oneModel, "")
	h.do(t, "POST", chatPath, chatSSE, "Authorization", "Bearer "+limitedKey)
	h.counted(t, chatPath, "200")
	if got := r.last.Load().Tenant; got != "acme" {
		t.Errorf("the router's tenant is %q", got)
	}
	if !strings.Contains(h.log.String(), "tenant=acme") {
		t.Errorf("the log is %s", h.log)
	}
	h.metric(t, "baton_api_tenant_tokens_total", 7, "tenant", "acme", "kind", "prompt")
	h.metric(t, "baton_api_tenant_tokens_total", 5, "tenant", "acme", "kind", "completion")
}

func TestRateLimitIsToldAsOpenAIDoes(t *testing.T) {
	h := startGuarded(t, empty(), oneModel, "    limits: {requests_per_minute: 1, tokens_per_minute: 60000}")
	key := []string{"Authorization", "Bearer " + limitedKey}
	resp, _ := h.do(t, "POST", chatPath, chatBody, key...)
	got := map[string]string{}
	for _, name := range []string{"Limit-Requests", "Remaining-Requests", "Reset-Requests", "Limit-Tokens", "Remaining-Tokens", "Reset-Tokens"} {
		got[name] = resp.Header.Get("X-Ratelimit-" + name)
	}
	if diff := cmp.Diff(map[string]string{
		"Limit-Requests": "1", "Remaining-Requests": "0", "Reset-Requests": "1m0s",
		"Limit-Tokens": "60000", "Remaining-Tokens": "59998", "Reset-Tokens": "2ms", // "a secret" is about two tokens
	}, got); diff != "" {
		t.Error(diff)
	}
	resp, text := h.do(t, "POST", chatPath, chatBody, key...)
	if resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(text, `"type":"RateLimitError"`) || !strings.Contains(text, "acme may send 1 requests a minute") {
		t.Errorf("answer is %d %s", resp.StatusCode, text)
	}
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 60 || resp.Header.Get("X-Ratelimit-Remaining-Requests") != "0" {
		t.Errorf("the header is %v", resp.Header)
	}
	h.metric(t, "baton_api_refused_total", 1, "tenant", "acme", "reason", "requests_per_minute")
	if resp, _ := h.do(t, "POST", chatPath, chatBody, "Authorization", "Bearer "+freeKey); resp.StatusCode != http.StatusOK || resp.Header.Get("X-Ratelimit-Limit-Requests") != "" {
		t.Errorf("a tenant without limits: %d, limit %q", resp.StatusCode, resp.Header.Get("X-Ratelimit-Limit-Requests"))
	}
}

// Other answers name no time beyond what SDKs heed; this one would be a lie.
func TestRetryAfterOfADebtIsNotCutShort(t *testing.T) {
	r := answering(counting{newScript(nil, "{}"), wire.EndInfo{PromptTokens: 1, CompletionTokens: 1000}})
	h := startGuarded(t, r, oneModel, "    limits: {tokens_per_minute: 100}")
	key := []string{"Authorization", "Bearer " + limitedKey}
	h.do(t, "POST", chatPath, chatBody, key...)
	resp, text := h.do(t, "POST", chatPath, chatBody, key...)
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || wait < 300 || wait > 542 { // 903 tokens at 100 a minute
		t.Errorf("answer is %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), text)
	}
}

func TestRequestLargerThanTheLimit(t *testing.T) {
	h := startGuarded(t, answering(newScript(nil, "{}")), oneModel, "    limits: {tokens_per_minute: 100}")
	body := strings.Replace(chatBody, `"m",`, `"m","max_tokens":100,`, 1)
	resp, text := h.do(t, "POST", chatPath, body, "Authorization", "Bearer "+limitedKey)
	if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Retry-After") != "" || !strings.Contains(text, "can never be let in") {
		t.Errorf("answer is %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), text)
	}
}

func TestTokensAreChargedByWhatTheEngineCounted(t *testing.T) {
	prompt := 2 // estimate of chatBody's
	for _, c := range []struct {
		name, body string
		r          *fakeRouter
		status     string
		cost       int
	}{
		{"counted", chatBody, answering(counting{newScript(nil, "{}"), wire.EndInfo{PromptTokens: 30, CompletionTokens: 300}}), "200", 330},
		{"not counted", chatBody, answering(newScript(nil, "{}")), "200", prompt + 200},
		{"a stream, not counted", chatSSE, answering(newScript(nil, "{}", "data: {}\n\ndata: {}\n\n")), "200", prompt + 3},
		{"a stream that broke off", chatSSE, answering(newScript(&router.Error{Status: 502}, "{}", "{}")), "502", prompt + 2},
		{"refused by the engine", chatBody, failing(&router.Error{Status: 400}), "400", 0},
		{"failed before the first event", chatSSE, failing(&router.Error{Status: 503}), "503", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := startGuarded(t, c.r, oneModel, "    limits: {tokens_per_minute: 1000000}")
			key := []string{"Authorization", "Bearer " + limitedKey}
			h.do(t, "POST", chatPath, strings.Replace(c.body, `"m",`, `"m","max_tokens":200,`, 1), key...)
			h.counted(t, chatPath, c.status)
			h.metric(t, "baton_api_tenant_tokens_total", float64(c.cost), "tenant", "acme")
		})
	}
}

func TestAClientThatLeftPaysWhatItMayHaveUsed(t *testing.T) {
	called := make(chan struct{})
	r := &fakeRouter{do: func(ctx context.Context, _ *router.Request) (Answer, error) {
		close(called)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	h := startGuarded(t, r, oneModel, "    limits: {tokens_per_minute: 1000}")
	ctx, leave := context.WithCancel(t.Context())
	req := h.request(t, "POST", chatPath, strings.Replace(chatBody, `"m",`, `"m","max_tokens":200,`, 1), "Authorization", "Bearer "+limitedKey)
	go func() {
		<-called
		leave()
	}()
	if resp, err := http.DefaultClient.Do(req.WithContext(ctx)); err == nil {
		_ = resp.Body.Close()
		t.Fatalf("answer is %d", resp.StatusCode)
	}
	h.counted(t, chatPath, "499")
	h.metric(t, "baton_api_tenant_tokens_total", 202, "tenant", "acme")
}

// One request at a time, each sent as soon as the last event of the one before is there.
func TestSlotIsFreeWhenTheClientSeesTheEnd(t *testing.T) {
	h := startGuarded(t, empty(), oneModel, "    limits: {concurrent: 1}")
	cfg := goopenai.DefaultConfig(limitedKey)
	cfg.BaseURL = h.url + "/v1"
	client := goopenai.NewClientWithConfig(cfg)
	ask := goopenai.ChatCompletionRequest{Model: "m", Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: "why"}}}
	for range 50 {
		stream, err := client.CreateChatCompletionStream(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConcurrentRequestsOfAKey(t *testing.T) {
	hold := make(chan struct{})
	answer := newScript(nil, "{}")
	answer.hold = hold
	h := startGuarded(t, answering(answer), oneModel, "    limits: {concurrent: 1}")
	first, err := http.DefaultClient.Do(h.request(t, "POST", chatPath, chatSSE, "Authorization", "Bearer "+limitedKey))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Body.Close() }()
	resp, text := h.do(t, "POST", chatPath, chatSSE, "Authorization", "Bearer "+limitedKey)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "" || !strings.Contains(text, "1 requests running") {
		t.Errorf("answer is %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), text)
	}
	close(hold)
}

// empty answers every request with an object that holds nothing.
func empty() *fakeRouter {
	return &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "{}"), nil }}
}

// An SDK tells its user what is wrong with the key.
func TestSDKSeesTheRefusal(t *testing.T) {
	h := startGuarded(t, failing(errors.New("called")), oneModel, "")
	cfg := goopenai.DefaultConfig("wrong-key-0123456789")
	cfg.BaseURL = h.url + "/v1"
	_, err := goopenai.NewClientWithConfig(cfg).ListModels(t.Context())
	var e *goopenai.APIError
	if !errors.As(err, &e) || e.HTTPStatusCode != http.StatusUnauthorized || e.Message != "The API key is not known here." {
		t.Errorf("ListModels = %v", err)
	}
}
