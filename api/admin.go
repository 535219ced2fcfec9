package api

import (
	"context"
	"net/http"
	"net/http/pprof"

	"github.com/go-chi/chi/v5"

	"github.com/baton-llm/baton/api/ui"
)

// Live is the live picture of the deployment; *live.View is one.
type Live interface {
	Text(ctx context.Context) ([]byte, error) // JSON that all callers share
	Cancel(id string) bool
}

// Admin returns the routes for operators, which their owner serves on Config.AdminListen. Probes,
// metrics, profiles and the page itself ask for no key, though profiles show prompts in memory; what lies
// below /admin is for who mayOperate.
func (s *Server) Admin() http.Handler {
	mux := s.newMux()
	s.probes(mux)
	s.scrape(mux)
	mux.Get("/debug/pprof/*", pprof.Index)
	mux.Get("/debug/pprof/cmdline", pprof.Cmdline)
	mux.Get("/debug/pprof/profile", pprof.Profile)
	mux.Get("/debug/pprof/symbol", pprof.Symbol)
	mux.Post("/debug/pprof/symbol", pprof.Symbol)
	mux.Get("/debug/pprof/trace", pprof.Trace)
	if s.deps.Live == nil {
		return mux
	}
	mux.Get("/ui/*", ui.Handler().ServeHTTP)
	for _, path := range []string{"/", "/ui"} {
		mux.Method(http.MethodGet, path, http.RedirectHandler("/ui/", http.StatusFound))
	}
	mux.Group(func(mux chi.Router) {
		mux.Use(s.operatorsOnly)
		mux.Get("/admin/v1/state", s.liveState)
		mux.Get("/admin/v1/events", s.liveEvents)
		mux.Post("/admin/v1/requests/{id}/cancel", s.cancelRequest)
		mux.Post("/admin/v1/chat/completions", s.chat)
	})
	return mux
}
