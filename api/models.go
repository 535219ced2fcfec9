package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// modelList is the body of GET /v1/models.
type modelList struct {
	Object string            `json:"object"`
	Data   []json.RawMessage `json:"data"`
}

func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	list := modelList{Object: "list", Data: []json.RawMessage{}}
	for _, m := range s.visible(r) {
		list.Data = append(list.Data, card(m))
	}
	writeJSON(w, http.StatusOK, encode(list))
}

// model serves one entry. Its id may hold slashes, plain or as %2F: URL.Path has them decoded.
func (s *Server) model(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/v1/models/")
	for _, m := range s.visible(r) {
		if m.ID == id {
			writeJSON(w, http.StatusOK, card(m))
			return
		}
	}
	s.writeError(w, r, noSuchModel(id))
}

// card is the engine's own entry, or the least that clients need where it gave none.
func card(m wire.Model) json.RawMessage {
	if json.Valid(m.Card) {
		return m.Card
	}
	return encode(struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}{ID: m.ID, Object: "model", OwnedBy: "baton"})
}

func noSuchModel(id string) *router.Error {
	const longest = 256 // of what is echoed
	if len(id) > longest {
		id = strings.ToValidUTF8(id[:longest], "") + "…"
	}
	return failure(http.StatusNotFound, "model", "The model `%s` does not exist.", id)
}

// resolve returns the model a request runs on. Like vLLM it takes the only one there is when the
// body names none.
func (s *Server) resolve(id string) (string, *router.Error) {
	if id != "" {
		if _, ok := s.deps.Fleet.Model(id); ok {
			return id, nil
		}
	}
	served := s.deps.Fleet.Models()
	switch {
	case len(served) == 0: // just started, or every worker is gone: the id may be a good one
		return "", failure(http.StatusServiceUnavailable, "", "No worker serves any model yet.")
	case id != "":
		return "", noSuchModel(id)
	case len(served) == 1:
		return served[0].ID, nil
	default:
		return "", failure(http.StatusBadRequest, "model", "model is required: this server has several")
	}
}
