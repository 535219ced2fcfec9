package api

import (
	"net/http"
	"net/http/pprof"
)

// Admin returns the routes for operators, which their owner serves on Config.AdminListen. They
// show what the process does, prompts in memory included, and ask for no key.
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
	return mux
}
