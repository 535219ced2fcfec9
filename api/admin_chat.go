package api

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"
)

// clientKeyHeader holds the API key of a request that the page makes as a client: Authorization is the
// operator's there.
const clientKeyHeader = "X-Baton-Api-Key"

// chat carries a request of the page out as any client's of this frontend, by whose rules it goes: its key
// is checked, its tenant is charged.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	ctx := context.WithValue(r.Context(), chi.RouteCtxKey, (*chi.Context)(nil)) // it is routed anew
	as := r.Clone(ctx)
	as.URL.Path, as.URL.RawPath, as.RequestURI = "/v1/chat/completions", "", "/v1/chat/completions"
	as.Header = http.Header{}
	for _, name := range []string{"Content-Type", timingHeader} {
		if value := r.Header.Get(name); value != "" {
			as.Header.Set(name, value)
		}
	}
	if key := r.Header.Get(clientKeyHeader); key != "" {
		as.Header.Set("Authorization", "Bearer "+key)
	}
	s.handler.ServeHTTP(w, as)
}
