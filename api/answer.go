package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// close lets go of the answer and keeps its figures for the log.
func (s *Server) close(ctx context.Context, answer Answer) {
	timing := answer.Timing()
	rec := recordOf(ctx)
	rec.timing = &timing
	rec.tokens = answer.Usage().CompletionTokens
	answer.Close()
}

func emptyAnswer() *router.Error {
	return failure(http.StatusBadGateway, "", "The engine sent an empty answer.")
}

// unary writes the engine's JSON, once all of it is there: until then a failure has a status.
func (s *Server) unary(ctx context.Context, w http.ResponseWriter, r *http.Request, req *router.Request) {
	answer, err := s.do(ctx, req)
	if err != nil {
		s.writeError(w, r, toError(ctx, err))
		return
	}
	defer s.close(ctx, answer)
	pieces, size, err := collect(ctx, answer)
	if err != nil {
		s.writeError(w, r, toError(ctx, err))
		return
	}
	s.describe(w.Header(), r, answer)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return // the client is gone; the writer counts it
		}
	}
}

// collect returns all pieces of an answer, which the router bounds by router.max_answer_bytes.
func collect(ctx context.Context, answer Answer) (pieces [][]byte, size int, err error) {
	for {
		piece, err := answer.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) && size == 0:
			return nil, 0, emptyAnswer()
		case errors.Is(err, io.EOF):
			return pieces, size, nil
		case err != nil:
			return nil, 0, err
		}
		pieces = append(pieces, piece)
		size += len(piece)
	}
}

// stream writes the answer as server-sent events. Until the first exists, an error has a status.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, req *router.Request) {
	out := newEventWriter(w, wire.DialectOf(req.Path), connOf(r))
	defer out.release()
	stop := out.keepAlive(s.cfg.SSEKeepalive)
	defer stop()
	err := s.events(ctx, out, r, req)
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
	switch { // an error of these is that nobody is left to tell
	case e.Status == statusClientClosed:
		panic(http.ErrAbortHandler) // or one who only stopped sending would see a clean end
	case e.Told:
		_ = out.done()
	default:
		_ = out.fail(e)
	}
}

// events and pump return nil when the stream is complete or the client does not take it any more. They are two so that what making
// the request needs of the stack is given up before the wait for the tokens, which thousands are in at a time.
func (s *Server) events(ctx context.Context, out *eventWriter, r *http.Request, req *router.Request) error {
	answer, err := s.do(ctx, req)
	if err != nil {
		return err
	}
	defer s.close(ctx, answer)
	if out.conn != nil {
		answer.Direct(out.direct)
	}
	return s.pump(ctx, out, r, answer)
}

func (s *Server) pump(ctx context.Context, out *eventWriter, r *http.Request, answer Answer) error {
	for empty := true; ; empty = false {
		payload, err := answer.Next(ctx)
		if errors.Is(err, io.EOF) {
			if empty {
				return emptyAnswer()
			}
			_ = out.done() // counted by the writer
			return nil
		}
		if err != nil {
			return err
		}
		if empty {
			out.beforeFirst(func(h http.Header) { s.describe(h, r, answer) })
		}
		if err := out.events(payload, answer.More()); err != nil {
			return nil //nolint:nilerr // the client is gone; the writer counts it
		}
	}
}
