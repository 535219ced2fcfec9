package enginesim

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	maxBody = 256 << 20
	version = "0.32.0+baton.sim" // the vLLM whose surface this is
)

func (e *Engine) routes() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{pathChat, pathCompletions, pathResponses, pathMessages} {
		mux.HandleFunc("POST "+path, e.generate)
	}
	mux.HandleFunc("GET "+pathResponses+"/{id}", storedResponse)
	mux.HandleFunc("POST "+pathResponses+"/{id}/cancel", storedResponse)
	mux.HandleFunc("POST "+pathMessages+"/count_tokens", e.countTokens)
	mux.HandleFunc("POST /v1/embeddings", e.embed)
	mux.HandleFunc("POST /tokenize", e.tokenize)
	mux.HandleFunc("POST /detokenize", e.detokenize)
	mux.HandleFunc("GET /v1/models", e.models)
	mux.HandleFunc("GET /health", e.health)
	mux.HandleFunc("/ping", ok)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"version": version})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.metrics.registry, promhttp.HandlerOpts{}))
	return e.control(e.healthy(e.authorized(mux)))
}

// authorized asks clients of /v1 for the key, if there is one, as vLLM does.
func (e *Engine) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		known := strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(key), []byte(e.cfg.APIKey)) == 1
		if e.cfg.APIKey != "" && strings.HasPrefix(r.URL.Path, "/v1") && !known {
			writeStatus(w, http.StatusUnauthorized, mustJSON(map[string]string{"error": "Unauthorized"}))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// health is what vLLM says: 503 once its core is dead, while its other answers may be as ever.
func (e *Engine) health(w http.ResponseWriter, _ *http.Request) {
	status := http.StatusOK
	if e.currentFaults().Dead {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func (e *Engine) models(w http.ResponseWriter, _ *http.Request) {
	type card struct {
		ID          string  `json:"id"`
		Object      string  `json:"object"`
		Created     int64   `json:"created"`
		OwnedBy     string  `json:"owned_by"`
		Root        string  `json:"root"`
		Parent      *string `json:"parent"`
		MaxModelLen int     `json:"max_model_len"`
		Permission  []any   `json:"permission"`
	}
	writeJSON(w, map[string]any{"object": "list", "data": []card{{
		ID: e.cfg.Model, Object: "model", Created: time.Now().Unix(), OwnedBy: "vllm", Root: e.cfg.Model,
		MaxModelLen: e.cfg.MaxModelLen, Permission: []any{},
	}}})
}

// tokenize takes a prompt or messages.
func (e *Engine) tokenize(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model    string          `json:"model"`
		Prompt   *string         `json:"prompt"`
		Messages []chatMessage   `json:"messages"`
		Tools    json.RawMessage `json:"tools"`
	}
	if !e.read(w, r, &in, &in.Model) {
		return
	}
	if in.Prompt == nil {
		text, err := renderMessages(in.Messages, in.Tools, false)
		if err != nil {
			writeError(w, internalError(err))
			return
		}
		in.Prompt = &text
	}
	ids := tokenize(*in.Prompt)
	writeJSON(w, map[string]any{"count": len(ids), "max_model_len": e.cfg.MaxModelLen, "tokens": ids, "token_strs": nil})
}

func (e *Engine) detokenize(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model  string  `json:"model"`
		Tokens []int64 `json:"tokens"`
	}
	if e.read(w, r, &in, &in.Model) {
		writeJSON(w, map[string]string{"prompt": detokenize(in.Tokens)})
	}
}

// embed answers a small vector that depends on the input alone; it takes no time.
func (e *Engine) embed(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model string          `json:"model"`
		Input json.RawMessage `json:"input"`
	}
	if !e.read(w, r, &in, &in.Model) || e.faulty(w, r.URL.Path) {
		return
	}
	prompts, err := readPrompts(in.Input)
	if err != nil {
		writeError(w, internalError(err))
		return
	}
	type embedding struct {
		Index     int       `json:"index"`
		Object    string    `json:"object"`
		Embedding []float64 `json:"embedding"`
	}
	data, used := []embedding{}, usage{}
	for i, p := range prompts {
		vector := []float64{}
		for _, b := range []byte(p.digest) {
			vector = append(vector, (float64(b)-64)/256)
		}
		data = append(data, embedding{Index: i, Object: "embedding", Embedding: vector})
		used.PromptTokens += p.tokens
	}
	used.TotalTokens = used.PromptTokens
	writeJSON(w, map[string]any{
		"id": "embd-" + newUUID(), "object": "list", "created": time.Now().Unix(), "model": e.cfg.Model, "data": data, "usage": used,
	})
}

// readBody returns the whole body of a JSON request, or answers and returns false.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		writeError(w, invalid("", "Unsupported Media Type: Only 'application/json' is allowed"))
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeError(w, badRequest("", "read the body: %v", err))
		return nil, false
	}
	return body, true
}

// read parses the body into v and checks the model that it then names; "" is any.
func (e *Engine) read(w http.ResponseWriter, r *http.Request, v any, model *string) bool {
	body, ok := readBody(w, r)
	if !ok {
		return false
	}
	if err := unmarshal("", body, v); err != nil {
		writeError(w, internalError(err))
		return false
	}
	if err := e.knows(*model); err != nil {
		writeError(w, err)
		return false
	}
	return true
}

func (e *Engine) knows(model string) *apiError {
	if model == "" || model == e.cfg.Model {
		return nil
	}
	return notFound("NotFoundError", "model", "The model `%s` does not exist.", model)
}

// generate serves chats, completions, responses and messages.
func (e *Engine) generate(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok || e.faulty(w, r.URL.Path) {
		return
	}
	a, err := e.accept(r, body)
	if err != nil {
		writeErrorAt(w, r.URL.Path, internalError(err))
		return
	}
	if err := e.submit(a.job); err != nil {
		panic(http.ErrAbortHandler) // it died since the request came
	}
	defer e.abandon(a.job)
	if a.req.Stream {
		a.stream(r.Context(), w)
		return
	}
	whole, err := a.collect(r.Context())
	switch {
	case errors.Is(err, errEngineDead) || r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	case err != nil:
		writeErrorAt(w, r.URL.Path, internalError(err))
	default:
		writeJSON(w, whole)
	}
}

// accept makes a job of the request, or says what is wrong with it.
func (e *Engine) accept(r *http.Request, body []byte) (*answer, error) {
	req, err := parseRequest(r.URL.Path, body)
	if err != nil {
		return nil, err
	}
	if err := e.knows(req.Model); err != nil {
		return nil, err
	}
	if req.response != nil {
		if err := req.response.refused(); err != nil {
			return nil, err
		}
	}
	a := newAnswer(e, req, r.Header.Get("X-Request-Id"))
	if a.job, err = e.newJob(req, a.id); err != nil {
		return nil, err
	}
	if req.KV != nil && req.KV.consume && !req.KV.handle.complete() {
		e.mu.Lock()
		e.crash()
		e.mu.Unlock()
		return nil, errEngineDead
	}
	return a, nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(mustJSON(v))
}

// mustJSON is for this package's own types, which always marshal. A failure becomes text that no
// client takes for an answer.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return slices.Concat([]byte("cannot marshal: "), []byte(err.Error()))
	}
	return b
}
