package api

import (
	"net/http"

	"github.com/baton-llm/baton/api/openai"
	"github.com/baton-llm/baton/internal/wire"
)

// passthroughPaths are answered whole by one engine, which checks the body itself.
var passthroughPaths = []string{"/v1/embeddings", "/v1/responses", "/v1/messages", "/tokenize", "/detokenize"}

// streams tells whether a body's stream is heeded: the other engine endpoints ignore it.
func streams(endpoint openai.Endpoint, path string) bool {
	return endpoint != openai.Other || wire.DialectOf(path).Named()
}

func (s *Server) passthrough(w http.ResponseWriter, r *http.Request) { s.generate(openai.Other)(w, r) }

// noStoredResponse answers for /v1/responses/{id} and below. An engine that stored a response keeps
// it in its own memory; which one that was, nobody knows here.
func (s *Server) noStoredResponse(w http.ResponseWriter, r *http.Request) {
	s.writeError(w, r, failure(http.StatusNotFound, "response_id",
		"This server keeps no responses. Send them with store=false, and the conversation so far as input."))
}
