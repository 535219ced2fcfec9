package api

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/baton-llm/baton/api/openai"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// generatePaths are what can be split into prefill and decode.
var generatePaths = map[string]openai.Endpoint{
	"/v1/chat/completions": openai.Chat,
	"/v1/completions":      openai.Completions,
}

// deadlineHeader says in how many milliseconds the answer must be complete. It can only shorten
// api.request_timeout.
const deadlineHeader = "X-Baton-Deadline-Ms"

// generate answers chat and completions.
func (s *Server) generate(endpoint openai.Endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, e := s.request(w, r, endpoint)
		if e != nil {
			s.writeError(w, r, e)
			return
		}
		s.limited(w, r, req)
	}
}

// request makes the router's request of the client's, or says why not. Headers that would choose a
// priority, a data-parallel rank or a session at the engine go no further than this.
func (s *Server) request(w http.ResponseWriter, r *http.Request, endpoint openai.Endpoint) (*router.Request, *router.Error) {
	class, e := s.classOf(r)
	if e != nil {
		return nil, e
	}
	limit, e := s.timeLimit(r.Header)
	if e != nil {
		return nil, e
	}
	held := s.memory.borrow()
	defer held.end() // from here on it is the router's to count
	text, e := s.readBody(w, r, held)
	if e != nil {
		return nil, e
	}
	plan, err := openai.Parse(endpoint, text)
	if err != nil {
		return nil, toError(r.Context(), err)
	}
	model, e := s.resolve(plan.Model)
	if e == nil {
		e = s.mayUse(r, model)
	}
	if e != nil {
		return nil, e
	}
	plan.Stream = plan.Stream && streams(endpoint, r.URL.Path)
	rec := recordOf(r.Context())
	rec.model, rec.streamed = model, plan.Stream
	req := &router.Request{
		ID: rec.id, Path: r.URL.Path, Model: model, Tenant: rec.tenant(), Class: class, Streaming: plan.Stream, Usage: plan.Usage, Resume: plan.Resume, Body: text,
		PromptTokens: plan.PromptTokens, MaxTokens: plan.MaxTokens, Whole: plan.Whole, Prefix: plan.Prefix, Traceparent: wire.Traceparent(r.Context()),
	}
	if limit > 0 {
		req.Deadline = time.Now().Add(limit)
	}
	if len(plan.Ignored) > 0 {
		s.log.DebugContext(r.Context(), "body has members that engines ignore", slog.String("request_id", rec.id), slog.Any("members", plan.Ignored))
	}
	return req, nil
}

// timeLimit is how long the request may take; 0: as long as it likes.
func (s *Server) timeLimit(h http.Header) (time.Duration, *router.Error) {
	sent := h.Get(deadlineHeader)
	if sent == "" {
		return s.cfg.RequestTimeout, nil
	}
	const most = math.MaxInt64 / int64(time.Millisecond)
	ms, err := strconv.ParseInt(sent, 10, 64)
	if err != nil || ms < 1 || ms > most {
		return 0, failure(http.StatusBadRequest, deadlineHeader, "%s must be a positive number of milliseconds", deadlineHeader)
	}
	limit := time.Duration(ms) * time.Millisecond
	if s.cfg.RequestTimeout > 0 {
		limit = min(limit, s.cfg.RequestTimeout)
	}
	return limit, nil
}

// few is how many requests net/http may keep while they wait. To take one out of it costs some processor time where little
// else is to be done, and saves memory that matters for thousands.
const few = 64

// relay has the request carried out, without net/http if there are many.
func (s *Server) relay(w http.ResponseWriter, r *http.Request, req *router.Request) {
	if s.kept.Add(1) > s.few {
		s.kept.Add(-1)
		if e, r := s.detach(w, r); e != nil {
			go s.answer(e, w.(*writer), r, req)
			return
		}
		s.kept.Add(1)
	}
	defer s.kept.Add(-1)
	s.carry(w, r, req)
}

// carry carries the request out and writes its answer.
func (s *Server) carry(w http.ResponseWriter, r *http.Request, req *router.Request) {
	if req.Deadline.IsZero() {
		s.write(r.Context(), w, r, req)
		return
	}
	ctx, cancel := context.WithDeadline(r.Context(), req.Deadline)
	defer cancel()
	s.write(ctx, w, r, req)
}

func (s *Server) write(ctx context.Context, w http.ResponseWriter, r *http.Request, req *router.Request) {
	if req.Streaming {
		s.stream(ctx, w, r, req)
		return
	}
	s.unary(ctx, w, r, req)
}
