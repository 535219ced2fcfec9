package enginesim

import (
	"encoding/json"
	"net/http"
)

// control is what a test asks of an engine in another process. It is no part of vLLM's surface, and answers also
// while the engine is crashed.
func (e *Engine) control(surface http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sim/stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, e.Stats()) })
	mux.HandleFunc("PUT /sim/faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&f)
		if err == nil {
			err = f.validate()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		e.SetFaults(f)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("/", surface)
	return mux
}

// Expected is what an undisturbed engine answers to a request that has one prompt, asks for one choice and
// gets words.
type Expected struct {
	Text         string
	Finish       string // stop or length
	PromptTokens int
	Tokens       int
}

// Expect tells what the body of a request that a client sends to path is answered, by an engine whose context
// has room for all of it.
func Expect(path string, body []byte) (Expected, error) {
	digest, err := Digest(path, body)
	if err != nil {
		return Expected{}, err
	}
	req, err := parseRequest(path, body)
	if err != nil {
		return Expected{}, err
	}
	params := sampling{maxTokens: defaultCompletion, minTokens: int(req.MinTokens), ignoreEOS: req.IgnoreEOS}
	switch {
	case req.MaxTokens != nil:
		params.maxTokens = int(*req.MaxTokens)
	case req.chat:
		params.maxTokens = DefaultConfig().MaxModelLen
	}
	n := req.form.script(digest).limit(params)
	out := Expected{Text: Proof(digest, n), Finish: "stop", PromptTokens: req.prompts[0].tokens, Tokens: n}
	if n >= params.maxTokens {
		out.Finish = "length"
	}
	return out, nil
}
