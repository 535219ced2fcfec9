package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/baton-llm/baton/api/openai"
	"github.com/baton-llm/baton/router"
)

// generatePaths are what can be split into prefill and decode.
var generatePaths = map[string]openai.Endpoint{
	"/v1/chat/completions": openai.Chat,
	"/v1/completions":      openai.Completions,
}

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
	text, e := s.readBody(w, r)
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
	rec := recordOf(r.Context())
	rec.model, rec.streamed = model, plan.Stream
	req := &router.Request{
		ID: rec.id, Path: r.URL.Path, Model: model, Tenant: rec.tenant(), Class: class, Streaming: plan.Stream, Body: text,
		PromptTokens: plan.PromptTokens, MaxTokens: plan.MaxTokens, Whole: plan.Whole,
	}
	if parent := r.Header.Get("Traceparent"); traceparent.MatchString(parent) {
		req.Traceparent = parent
	}
	if s.cfg.RequestTimeout > 0 {
		req.Deadline = time.Now().Add(s.cfg.RequestTimeout)
	}
	return req, nil
}

// relay carries the request out and writes its answer.
func (s *Server) relay(w http.ResponseWriter, r *http.Request, req *router.Request) {
	ctx := r.Context()
	if !req.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, req.Deadline)
		defer cancel()
	}
	if req.Streaming {
		s.stream(ctx, w, r, req)
		return
	}
	answer, err := s.do(ctx, req)
	if err != nil {
		s.writeError(w, r, toError(ctx, err))
		return
	}
	defer s.close(ctx, answer)
	s.unary(ctx, w, r, answer)
}

// close lets go of the answer and keeps its figures for the log.
func (s *Server) close(ctx context.Context, answer Answer) {
	timing := answer.Timing()
	rec := recordOf(ctx)
	rec.timing = &timing
	rec.tokens = answer.Usage().CompletionTokens
	answer.Close()
}

// unary writes the engine's JSON as it comes. One that breaks off breaks the connection: half an
// object with a clean end would look whole to some.
func (s *Server) unary(ctx context.Context, w http.ResponseWriter, r *http.Request, answer Answer) {
	begun := false
	for {
		piece, err := answer.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) && begun:
			return
		case errors.Is(err, io.EOF):
			s.writeError(w, r, failure(http.StatusBadGateway, "", "The engine sent an empty answer."))
			return
		case err != nil && !begun:
			s.writeError(w, r, toError(ctx, err))
			return
		case err != nil:
			recordOf(ctx).fail(toError(ctx, err))
			panic(http.ErrAbortHandler)
		}
		if !begun {
			w.Header().Set("Content-Type", "application/json")
			begun = true
		}
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// stream writes the answer as server-sent events. Until the first exists, an error has a status.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, req *router.Request) {
	out := &sse{w: w, named: namedPaths[req.Path]}
	stop := out.keepAlive(s.cfg.SSEKeepalive)
	defer stop()
	err := s.events(ctx, out, req)
	stop()
	if err == nil {
		return
	}
	e := toError(ctx, err)
	if !out.started() {
		s.writeError(w, r, e)
		return
	}
	recordOf(ctx).fail(e)
	if e.Status != statusClientClosed {
		_ = out.fail(e) // nobody is left to tell
	}
}

// events returns nil when the stream is complete or the client does not take it any more.
func (s *Server) events(ctx context.Context, out *sse, req *router.Request) error {
	answer, err := s.do(ctx, req)
	if err != nil {
		return err
	}
	defer s.close(ctx, answer)
	for empty := true; ; empty = false {
		data, err := answer.Next(ctx)
		if errors.Is(err, io.EOF) {
			if empty {
				return fmt.Errorf("stream without events: %w", failure(http.StatusBadGateway, "", "The engine sent an empty answer."))
			}
			_ = out.done() // counted by the writer
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.event(data); err != nil {
			return nil //nolint:nilerr // the client is gone; the writer counts it
		}
	}
}
