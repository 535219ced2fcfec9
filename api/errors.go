package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/baton-llm/baton/api/openai"
	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/router"
)

// statusClientClosed is what is counted when the client left; nobody receives it.
const statusClientClosed = 499

// longestRetryAfter is what SDKs heed: above it Node falls back to its own back-off, and above
// twice that Python does not retry at all.
const longestRetryAfter = time.Minute

// envelope is the error form of vLLM, whose code is the HTTP status.
type envelope struct {
	Error envelopeError `json:"error"`
}

type envelopeError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    int     `json:"code"`
}

// typeOf is vLLM's name for a status.
func typeOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BadRequestError"
	case http.StatusUnauthorized:
		return "AuthenticationError" // these two are OpenAI's; vLLM has none
	case http.StatusForbidden:
		return "PermissionDeniedError"
	case http.StatusNotFound:
		return "NotFoundError"
	case http.StatusUnprocessableEntity:
		return "UnprocessableEntityError"
	case http.StatusInternalServerError:
		return "InternalServerError"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailableError"
	case http.StatusTooManyRequests:
		return "RateLimitError" // as the router says it
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return "TimeoutError"
	default:
		return strings.ReplaceAll(http.StatusText(status), " ", "") + "Error"
	}
}

// body is the bytes that the client gets for e: the engine's own, unchanged, where they have the
// form that clients look for.
func body(e *router.Error) []byte {
	if _, enveloped := readError(e.Body); enveloped {
		return e.Body
	}
	return encode(envelope{details(e)})
}

// details says e in baton's own form.
func details(e *router.Error) envelopeError {
	out := envelopeError{Message: e.Message, Type: e.Type, Code: e.Status}
	if theirs, _ := readError(e.Body); theirs != "" {
		out.Message = theirs
	}
	if out.Message == "" {
		out.Message = http.StatusText(e.Status)
	}
	if out.Type == "" {
		out.Type = typeOf(e.Status)
	}
	if e.Param != "" {
		out.Param = &e.Param
	}
	return out
}

// readError tells whether an engine's error is an envelope and, if it is not, what it says: older
// engines and the framework under vLLM have the text in other places.
func readError(text []byte) (message string, enveloped bool) {
	object, err := rawjson.Parse(text)
	if err != nil {
		return "", false
	}
	if inner, ok := object.Get("error"); ok && inner.Kind() == rawjson.KindObject {
		return "", true
	}
	for _, name := range []string{"message", "detail"} {
		member, _ := object.Get(name)
		if message, err := member.String(); err == nil && message != "" {
			return message, false
		}
	}
	return "", false
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("api: encode %T: %v", v, err)) // only types of this package come here
	}
	return text
}

func failure(status int, param, format string, args ...any) *router.Error {
	return &router.Error{Status: status, Param: param, Message: fmt.Sprintf(format, args...)}
}

func clientGone() *router.Error {
	return failure(statusClientClosed, "", "The client closed the connection.")
}

// toError finds what to tell the client of err. ctx is the request's.
func toError(ctx context.Context, err error) *router.Error {
	var fault *openai.Fault
	var known *router.Error
	switch {
	case errors.As(err, &fault):
		return failure(http.StatusBadRequest, fault.Param, "%s", fault.Message)
	case errors.Is(context.Cause(ctx), errStopped):
		return failure(http.StatusServiceUnavailable, "", "The server is stopping.")
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return clientGone()
	case errors.As(err, &known):
		if known.Status < http.StatusBadRequest {
			withStatus := *known
			withStatus.Status = http.StatusInternalServerError
			return &withStatus
		}
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return failure(http.StatusGatewayTimeout, "", "The request's deadline passed.")
	default:
		return failure(http.StatusInternalServerError, "", "Internal server error.")
	}
}

// writeError answers with e, which must be possible: nothing is written yet.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, e *router.Error) {
	recordOf(r.Context()).fail(e)
	if e.Status == statusClientClosed {
		panic(http.ErrAbortHandler) // or net/http would answer an empty 200 to one who only stopped sending
	}
	h := w.Header()
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		wait := e.RetryAfter
		if wait <= 0 {
			wait = time.Second
		}
		setRetryAfter(h, min(wait, longestRetryAfter))
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		h.Set("X-Should-Retry", "false") // baton has tried what there was to try
	}
	writeFailure(w, e)
}

// writeFailure writes the status and body of e with the headers that are already there.
func writeFailure(w http.ResponseWriter, e *router.Error) {
	text, h := body(e), w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(text) // a client that left is seen by the middleware
}

// setRetryAfter tells clients when to come again: seconds for HTTP, milliseconds for OpenAI SDKs.
func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.FormatInt(roundUp(d, time.Second), 10))
	h.Set("Retry-After-Ms", strconv.FormatInt(roundUp(d, time.Millisecond), 10))
}

// roundUp is d in whole units, never too early.
func roundUp(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.writeError(w, r, failure(http.StatusNotFound, "", "There is no such path here."))
}

func (s *Server) methodNotAllowed(mux *chi.Mux) http.HandlerFunc {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost}
	return func(w http.ResponseWriter, r *http.Request) {
		allowed := slices.DeleteFunc(slices.Clone(methods), func(m string) bool {
			if m == http.MethodHead {
				m = http.MethodGet // which answers HEAD, too
			}
			return !mux.Match(chi.NewRouteContext(), m, r.URL.Path)
		})
		if len(allowed) == 0 { // chi asks here, too, about a method that it does not know
			s.notFound(w, r)
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.writeError(w, r, failure(http.StatusMethodNotAllowed, "", "Method Not Allowed"))
	}
}
