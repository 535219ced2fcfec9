package api

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/baton-llm/baton/internal/sse"
)

const (
	mostWatchers = 32              // streams of events at the same time
	watchEvery   = time.Second     // between two events
	slowWatcher  = 5 * time.Second // for one event to be taken; then the stream ends
)

// liveState answers with what is now.
func (s *Server) liveState(w http.ResponseWriter, r *http.Request) {
	text, err := s.deps.Live.Text(r.Context())
	if err != nil {
		s.writeError(w, r, toError(r.Context(), err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a client that left is seen by the middleware
}

// liveEvents sends the same again and again, until the client leaves or does not keep up.
func (s *Server) liveEvents(w http.ResponseWriter, r *http.Request) {
	defer s.watchers.Add(-1)
	if s.watchers.Add(1) > mostWatchers {
		s.writeError(w, r, failure(http.StatusServiceUnavailable, "", "%d others watch already; GET /admin/v1/state instead.", mostWatchers))
		return
	}
	if out, ok := w.(*writer); ok {
		out.timeout = slowWatcher
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var block []byte
	for {
		text, err := s.deps.Live.Text(r.Context())
		if err != nil {
			s.log.ErrorContext(r.Context(), "live picture not made", slog.Any("error", err))
			return
		}
		block = sse.Append(block[:0], []byte("state"), text)
		if _, err := w.Write(block); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// cancelRequest ends a request of this frontend.
func (s *Server) cancelRequest(w http.ResponseWriter, r *http.Request) {
	id := chi.URLParam(r, "id")
	if !s.deps.Live.Cancel(id) {
		s.writeError(w, r, failure(http.StatusNotFound, "id", "This frontend has no request %.200q in flight.", id))
		return
	}
	s.log.InfoContext(r.Context(), "request cancelled by an operator", slog.String("request_id", id), slog.String("peer", r.RemoteAddr))
	text := encode(cancelled{ID: id, Cancelled: true})
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

type cancelled struct {
	ID        string `json:"id"`
	Cancelled bool   `json:"cancelled"`
}
