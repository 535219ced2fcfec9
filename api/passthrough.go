package api

import (
	"net/http"

	"github.com/baton-llm/baton/api/openai"
)

// passthroughPaths are answered whole by one engine, which checks the body itself.
var passthroughPaths = []string{"/v1/embeddings", "/v1/responses", "/v1/messages", "/tokenize", "/detokenize"}

// namedPaths stream events that have names and end without [DONE].
var namedPaths = map[string]bool{"/v1/responses": true, "/v1/messages": true}

func (s *Server) passthrough(w http.ResponseWriter, r *http.Request) { s.generate(openai.Other)(w, r) }
