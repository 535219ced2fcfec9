package api

import (
	"net/http"
	"strconv"
)

// readiness is the body of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing,omitempty"` // for people
}

// healthz says that the process lives; a process without workers lives, too.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, []byte("{}"))
}

// readyz says whether to send requests here.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	missing := s.deps.Fleet.Missing()
	if s.draining.Load() {
		missing = append([]string{"the server is draining"}, missing...)
	}
	status := http.StatusOK
	if len(missing) > 0 {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, encode(readiness{Ready: len(missing) == 0, Missing: missing}))
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, encode(struct {
		Version string `json:"version"`
	}{s.deps.Version}))
}

func writeJSON(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that left is seen by the middleware
}
