package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/router"
	"go.opentelemetry.io/otel/trace"
)

var saneID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// record gathers what is logged and counted of one request. It belongs to the request's handler.
type record struct {
	start    time.Time
	detached bool   // from net/http: an exchange concludes it
	route    string // see routeIn; empty: ask chi
	echoed   string // x-request-id of the answer
	id       string // unique in the fleet
	model    string
	failed   *router.Error // what the client was, or would have been, told
	timing   *router.Timing
	tokens   int // of the answer, as the engine counted
	streamed bool
	key      *auth.Key         // nil: none was asked for
	bill     *bill             // nil: nothing is charged
	traced   trace.Span        // nil: the request has none
	span     trace.SpanContext // of traced
}

type recordKey struct{}

func recordOf(ctx context.Context) *record { return ctx.Value(recordKey{}).(*record) }

func (r *record) fail(e *router.Error) { r.failed = e }

// newRecord keeps a sane id of the client's for the answer and makes a unique one of it: vLLM
// names answers by the id, and two clients may send the same.
func newRecord(header http.Header) *record {
	sent := header.Get("X-Request-Id")
	if sent == "" || !saneID.MatchString(sent) {
		id := randomHex(16)
		return &record{start: time.Now(), echoed: id, id: id}
	}
	return &record{start: time.Now(), echoed: sent, id: sent + "-" + randomHex(4)}
}

func randomHex(size int) string {
	b := make([]byte, size)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// observe gives every request its record, bounds its writes, logs and counts it.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := newRecord(r.Header)
		out := newWriter(w, r, s.cfg.WriteTimeout, rec.start)
		out.Header().Set("X-Request-Id", rec.echoed)
		if doubtfulEnd(r) {
			hangUp(out, r)
		}
		r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
		defer func() {
			if !rec.detached {
				s.conclude(out, r)
			}
		}()
		next.ServeHTTP(out, r)
	})
}

// conclude ends what the middlewares began.
func (s *Server) conclude(out *writer, r *http.Request) {
	rec := recordOf(r.Context())
	if rec.bill != nil {
		rec.bill.settle(rec.bill.req.PromptTokens, rec.bill.req.MaxTokens) // unless somebody knew better before
	}
	rec.endSpan(r.Context())
	out.finish(s.cfg.BodyTimeout)
	s.account(r, rec, out, time.Since(rec.start))
}

func (s *Server) account(r *http.Request, rec *record, out *writer, took time.Duration) {
	ctx, status := r.Context(), out.status
	if rec.failed != nil {
		status = rec.failed.Status
	}
	if out.err != nil && status < http.StatusBadRequest {
		status = statusClientClosed
	}
	if status == 0 {
		status = http.StatusOK // a handler that wrote nothing
	}
	route := rec.routeIn(ctx)
	s.metrics.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	histogram.Observe(s.metrics.seconds.WithLabelValues(route), took, rec.span)

	attrs := []slog.Attr{
		slog.String("request_id", rec.id), slog.String("method", r.Method), slog.String("route", route),
		slog.Int("status", status), slog.Int64("bytes", out.bytes), slog.Duration("took", took),
	}
	level := slog.LevelDebug // probes and scrapes
	if r.Method == http.MethodPost {
		level = slog.LevelInfo
		attrs = append(attrs, slog.String("model", rec.model), slog.Bool("stream", rec.streamed))
	}
	if t := rec.timing; t != nil {
		attrs = append(attrs, slog.String("place", t.Place), slog.String("why", t.Why), slog.Duration("dispatch", t.Dispatch),
			slog.Duration("queue", t.Queue), slog.Duration("prefill", t.Prefill),
			slog.Duration("handover", t.Handover), slog.Duration("first_token", t.FirstToken),
			slog.String("prefill_worker", t.PrefillWorker), slog.String("decode_worker", t.DecodeWorker),
			slog.Int("attempts", t.Attempts), slog.Int("prompt_tokens", t.PromptTokens),
			slog.Int("cached_tokens", t.CachedTokens), slog.Int("completion_tokens", rec.tokens))
	}
	if rec.key != nil {
		attrs = append(attrs, slog.String("tenant", rec.tenant()))
	}
	if rec.failed != nil {
		attrs = append(attrs, slog.String("reason", rec.failed.Reason))
	}
	if rec.span.IsSampled() {
		attrs = append(attrs, slog.String("trace_id", rec.span.TraceID().String()))
	}
	if status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// recoverPanic turns a panic into a 500, or, once the answer has begun, into a broken connection.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		next.ServeHTTP(w, r)
	})
}

// recovered is to be deferred.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.log.ErrorContext(r.Context(), "handler panicked", slog.String("request_id", recordOf(r.Context()).id),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	e := failure(http.StatusInternalServerError, "", "Internal server error.")
	if out, ok := w.(*writer); ok && out.status != 0 {
		recordOf(r.Context()).fail(e)
		panic(http.ErrAbortHandler)
	}
	s.writeError(w, r, e)
}

// writer counts what is written, and bounds each write so that a client that does not read cannot
// hold a request for ever. In HTTP/1 a deadline concerns writes under way alone, so one stands for the writes of a
// while. In HTTP/2 it would end a stream that is idle: there is none between writes.
type writer struct {
	http.ResponseWriter

	control *http.ResponseController
	flush   func() error // of ResponseWriter
	conn    *conn        // whose held writes a flush sends; nil: none are held
	timeout time.Duration
	until   time.Time // the deadline that stands; zero: none
	stands  bool      // it stays between writes
	start   time.Time
	status  int // 0: nothing written yet
	bytes   int64
	err     error // the first of a write
}

func newWriter(w http.ResponseWriter, r *http.Request, timeout time.Duration, start time.Time) *writer {
	out := &writer{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout, start: start, stands: r.ProtoMajor == 1, conn: connOf(r)}
	out.flush = flushOf(w)
	out.deadline(time.Time{}) // the connection may still have its last request's
	return out
}

// controlOf is w's controller.
func controlOf(w http.ResponseWriter) *http.ResponseController {
	if out, ours := w.(*writer); ours {
		return out.control
	}
	return http.NewResponseController(w)
}

// Unwrap lets http.ResponseController reach what writer does not have.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// flushOf is how w is flushed, looked up once: a stream flushes for each token.
func flushOf(w http.ResponseWriter) func() error {
	if f, ok := w.(interface{ FlushError() error }); ok {
		return f.FlushError
	}
	return http.NewResponseController(w).Flush
}

// deadline does nothing where the server has no deadlines, as in tests with a recorder.
func (w *writer) deadline(t time.Time) {
	w.until = t
	_ = w.control.SetWriteDeadline(t)
}

// bound gives the write that follows the timeout, or up to a quarter less where a deadline stands for many writes.
func (w *writer) bound() {
	now := time.Now()
	switch {
	case !w.stands:
		w.deadline(now.Add(w.timeout))
	case w.until.Sub(now) < w.timeout-w.timeout/4:
		w.deadline(now.Add(w.timeout))
	}
}

// unbound ends what bound began.
func (w *writer) unbound() {
	if !w.stands {
		w.deadline(time.Time{})
	}
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
		w.Header().Set("Openai-Processing-Ms", strconv.FormatInt(time.Since(w.start).Milliseconds(), 10))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.bound()
	n, err := w.ResponseWriter.Write(p)
	w.unbound()
	w.bytes += int64(n)
	return n, w.note(err)
}

// FlushError sends what is buffered. http.ResponseController calls it.
func (w *writer) FlushError() error {
	w.bound()
	err := w.flush()
	if err == nil && w.conn != nil {
		err = w.conn.release()
	}
	w.unbound()
	return w.note(err)
}

func (w *writer) note(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// finish bounds what the HTTP server itself does after the handler: it writes what is buffered, and what is held with it, and
// reads away what is left of the body. It resets the read deadline before the next request.
func (w *writer) finish(rest time.Duration) {
	if w.conn != nil {
		w.conn.end()
	}
	w.deadline(time.Now().Add(w.timeout))
	_ = w.control.SetReadDeadline(time.Now().Add(rest)) // a recorder has none
}
