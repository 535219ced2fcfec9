package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// openPaths are for probes, scrapes and people who look around. All other paths need a key where
// there are keys, so that nobody can forget to guard a new one.
var openPaths = map[string]bool{
	"/health": true, "/healthz": true, "/ping": true, "/readyz": true, "/version": true, "/metrics": true, "/openapi.json": true,
}

// classHeader names a wire.Class; without it a request has its key's.
const classHeader = "X-Baton-Class"

// tenant is empty for who needs no key.
func (r *record) tenant() string {
	if r.key == nil {
		return ""
	}
	return r.key.Name
}

// authenticate lets only requests with a usable key on, before their body is read.
func (s *Server) authenticate(next http.Handler) http.Handler {
	if s.deps.Keys == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if openPaths[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		var key *auth.Key
		presented, err := auth.Presented(r.Header, isAnthropic(r.URL.Path))
		if err == nil {
			key, err = s.deps.Keys.Find(presented)
		}
		if err != nil {
			s.deny(w, r, err)
			return
		}
		recordOf(r.Context()).key = key
		next.ServeHTTP(w, r)
	})
}

// isAnthropic tells whether clients of the path send Anthropic's header.
func isAnthropic(path string) bool {
	return path == "/v1/messages" || strings.HasPrefix(path, "/v1/messages/")
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request, err error) {
	e := failure(http.StatusUnauthorized, "", "%s", err)
	var denied *auth.Denied
	if errors.As(err, &denied) {
		e.Reason = denied.Reason
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	if r.ContentLength != 0 {
		hangUp(w, r) // a stranger's body is not worth reading
	}
	s.writeError(w, r, s.refused(r, e))
}

// refused counts a refusal.
func (s *Server) refused(r *http.Request, e *router.Error) *router.Error {
	s.metrics.refused.WithLabelValues(recordOf(r.Context()).tenant(), e.Reason).Inc()
	return e
}

// classOf is the class that a request asks for, or its key's. A better one than the key's is
// refused and not lowered: who asks for it should learn that they do not have it.
func (s *Server) classOf(r *http.Request) (wire.Class, *router.Error) {
	best := wire.Interactive
	if key := recordOf(r.Context()).key; key != nil {
		best = key.Class
	}
	name := r.Header.Get(classHeader)
	if name == "" {
		return best, nil
	}
	class, err := wire.ParseClass(name)
	if err != nil {
		return best, failure(http.StatusBadRequest, classHeader, "%.200s", err)
	}
	if class < best {
		e := failure(http.StatusForbidden, classHeader, "This API key may not ask for class %s; its best is %s.", class, best)
		e.Reason = "class"
		return best, s.refused(r, e)
	}
	return class, nil
}

// mayUse answers for a model that the key may not use as OpenAI does, with 404.
func (s *Server) mayUse(r *http.Request, model string) *router.Error {
	if key := recordOf(r.Context()).key; key == nil || key.Serves(model) {
		return nil
	}
	e := failure(http.StatusNotFound, "model", "The model `%s` does not exist or this API key may not use it.", model)
	e.Reason = "model"
	return s.refused(r, e)
}

// visible are the models that the request's key may use.
func (s *Server) visible(r *http.Request) []wire.Model {
	served := s.deps.Fleet.Models()
	key := recordOf(r.Context()).key
	if key == nil {
		return served
	}
	return slices.DeleteFunc(slices.Clone(served), func(m wire.Model) bool { return !key.Serves(m.ID) })
}

// limited carries a request out within the limits of its tenant, or says why it does not come in.
func (s *Server) limited(w http.ResponseWriter, r *http.Request, req *router.Request) {
	rec := recordOf(r.Context())
	if rec.key == nil {
		s.relay(w, r, req)
		return
	}
	lease, err := rec.key.Enter(req.PromptTokens + req.MaxTokens)
	var refusal *auth.Refusal
	if errors.As(err, &refusal) {
		s.overLimit(w, r, refusal)
		return
	}
	setQuotas(w.Header(), lease.Requests, lease.Tokens)
	rec.bill = &bill{lease: lease, req: req, tenant: rec.key.Name, metrics: s.metrics}
	s.relay(w, r, req)
}

func (s *Server) overLimit(w http.ResponseWriter, r *http.Request, refusal *auth.Refusal) {
	status := http.StatusTooManyRequests
	if refusal.Never {
		status = http.StatusBadRequest // SDKs send a 429 again
	}
	e := failure(status, "", "%s", refusal)
	e.Reason = refusal.Reason
	setQuotas(w.Header(), refusal.Requests, refusal.Tokens)
	if refusal.RetryAfter > 0 {
		setRetryAfter(w.Header(), refusal.RetryAfter) // the true time, however long
	}
	recordOf(r.Context()).fail(s.refused(r, e))
	writeFailure(w, e)
}

// setQuotas says what is left, as OpenAI does.
func setQuotas(h http.Header, requests, tokens auth.Quota) {
	for _, q := range []struct {
		of string
		auth.Quota
	}{{"Requests", requests}, {"Tokens", tokens}} {
		if q.Limit == 0 {
			continue
		}
		h.Set("X-Ratelimit-Limit-"+q.of, strconv.Itoa(q.Limit))
		h.Set("X-Ratelimit-Remaining-"+q.of, strconv.Itoa(q.Remaining))
		h.Set("X-Ratelimit-Reset-"+q.of, (time.Duration(roundUp(q.Reset, time.Millisecond)) * time.Millisecond).String())
	}
}

// bill is what one request costs its tenant. It belongs to the request's handler.
type bill struct {
	lease   *auth.Lease
	req     *router.Request
	tenant  string
	metrics *metrics
	settled bool
}

// settle ends the lease; only the first call counts.
func (b *bill) settle(prompt, completion int) {
	if b.settled {
		return
	}
	b.settled = true
	prompt, completion = max(prompt, 0), max(completion, 0) // an engine may count anything
	b.lease.End(prompt + completion)
	b.metrics.tokens.WithLabelValues(b.tenant, "prompt").Add(float64(prompt))
	b.metrics.tokens.WithLabelValues(b.tenant, "completion").Add(float64(completion))
}

// do is Router.Do for a request that may have a bill. A request that fails costs no tokens; one
// whose client left does, as far as was known when it came in.
func (s *Server) do(ctx context.Context, req *router.Request) (Answer, error) {
	answer, err := s.deps.Router.Do(ctx, req)
	b := recordOf(ctx).bill
	switch {
	case b == nil:
		return answer, err
	case err == nil:
		return &metered{Answer: answer, bill: b}, nil
	case toError(ctx, err).Status != statusClientClosed:
		b.settle(0, 0)
	}
	return nil, err
}

// metered settles the bill when the answer ends, before the client can know: it may send its next
// request at once.
type metered struct {
	Answer

	bill   *bill
	events int // of a stream
}

func (m *metered) Next(ctx context.Context) ([]byte, error) {
	piece, err := m.Answer.Next(ctx)
	switch {
	case err == nil:
		m.events += sse.Count(piece)
	case errors.Is(err, io.EOF):
		m.settle()
	}
	return piece, err
}

func (m *metered) Close() {
	m.settle()
	m.Answer.Close()
}

// settle goes by what the engine counted. Where it did not, as for a stream that broke off, each
// event counts as a token, and a unary answer as long as it may have been.
func (m *metered) settle() {
	req, usage := m.bill.req, m.Usage()
	prompt := cmp.Or(usage.PromptTokens, m.Timing().PromptTokens, req.PromptTokens)
	switch {
	case usage.PromptTokens > 0 || usage.CompletionTokens > 0:
		m.bill.settle(prompt, usage.CompletionTokens)
	case req.Streaming:
		m.bill.settle(prompt, m.events)
	default:
		m.bill.settle(prompt, req.MaxTokens)
	}
}
