// Package engine is the HTTP client of a vLLM-compatible engine. It bounds every wait, keeps
// answers as bytes and says in which way a call failed; what to do then is its callers' matter.
package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	maxErrorBytes = 1 << 20
	eventStream   = "text/event-stream"
)

// Client calls one engine. It is safe for concurrent use.
type Client struct {
	url       string
	cfg       Config
	transport *transport
	metrics   metrics
	log       *slog.Logger
	down      func() // see OnDown; nil: nobody wants to know
	tracer    trace.Tracer
	pulse     *pulse
}

// Call is one request to the engine's API.
type Call struct {
	Path      string // from the slash on
	RequestID string // becomes X-Request-Id and so part of the engine's own id
	Body      []byte // not changed; must not change during the call
}

// New returns a client of the engine at url, such as http://127.0.0.1:8100. It opens connections
// with dial, or over the network if dial is nil. With a nil Registerer metrics are not exported.
func New(url string, cfg Config, dial func(ctx context.Context, network, addr string) (net.Conn, error), reg prometheus.Registerer, log *slog.Logger) *Client {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	secure, err := cfg.tls()
	if err != nil {
		log.Error("engine's TLS files not read since the settings were checked, https calls will fail", slog.Any("error", err))
		secure = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()} // trusts nobody
	}
	url = strings.TrimRight(url, "/")
	return &Client{
		pulse: newPulse(), url: url, cfg: cfg, transport: newTransport(url, cfg, secure, dial), metrics: newMetrics(reg), log: log,
		tracer: noop.NewTracerProvider().Tracer(""),
	}
}

// OnDown has f called after each generation call that found no engine or lost it. It is set before the first
// call, and f must not block.
func (c *Client) OnDown(f func()) { c.down = f }

// Trace has spans made of the generation calls, below the one of each call's context. It is set before the first call.
func (c *Client) Trace(tracer trace.Tracer) { c.tracer = tracer }

// Close drops the idle connections. Calls under way go on.
func (c *Client) Close() { c.transport.pool.close() }

// Post returns the whole answer, if it is a 200. Errors: *StatusError, ErrTooLarge, ErrTimeout,
// the context's cause, or what the network says.
func (c *Client) Post(ctx context.Context, call Call) (answer []byte, err error) {
	start := time.Now()
	ctx, span := c.span(ctx, call.Path)
	defer func() { c.ended(ctx, "post", call.RequestID, start, err, span) }()
	a, err := c.post(ctx, call, "application/json")
	if err != nil {
		return nil, err
	}
	defer a.close()
	return a.readAll(c.cfg.MaxAnswerBytes)
}

// Stream returns once the headers of a 200 with an event stream are there. Errors are those of
// Post. The caller closes the stream.
func (c *Client) Stream(ctx context.Context, call Call) (*Stream, error) {
	start := time.Now()
	ctx, span := c.span(ctx, call.Path)
	a, err := c.post(ctx, call, eventStream)
	if err == nil && !a.isEventStream() {
		// Nothing of the body is passed on: no one knows what it is.
		err = fmt.Errorf("read a stream of type %.100q: %w", a.contentType, errProtocol)
		a.close()
	}
	if err != nil {
		c.ended(ctx, "stream", call.RequestID, start, err, span)
		return nil, err
	}
	return &Stream{
		answer: a, dialect: wire.DialectOf(call.Path), events: sse.NewReader(a.next, c.cfg.MaxEventBytes),
		ended: func(err error) { c.ended(ctx, "stream", call.RequestID, start, err, span) },
	}, nil
}

func (c *Client) ended(ctx context.Context, kind, id string, start time.Time, err error, span trace.Span) {
	c.metrics.ended(kind, start, err, span.SpanContext())
	endSpan(ctx, span, err)
	if err != nil {
		c.log.DebugContext(ctx, "engine call ended", slog.String("kind", kind), slog.String("request_id", id),
			slog.Duration("took", time.Since(start)), slog.Any("error", err))
	}
	if c.down != nil && err != nil && ctx.Err() == nil && !errors.Is(err, errAbandoned) && Failure(err).Reason == wire.EngineDown {
		c.down()
	}
}

func (c *Client) post(ctx context.Context, call Call, accept string) (*answer, error) {
	return c.do(ctx, request{method: http.MethodPost, path: call.Path, body: call.Body, fields: [][2]string{
		{"Accept", accept}, {"Content-Type", "application/json"}, {"Traceparent", wire.Traceparent(ctx)}, {"X-Request-Id", call.RequestID},
	}})
}

// do returns the answer of a 200; every other status is a *StatusError.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	a, err := c.transport.call(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", r.path, err)
	}
	c.pulse.heard()
	a.heard = c.pulse.heard
	if a.status == http.StatusOK {
		return a, nil
	}
	defer a.close()
	status := &StatusError{Status: a.status, ContentType: a.contentType}
	status.Body, err = a.readAll(maxErrorBytes)
	if ctx.Err() != nil && !errors.Is(err, ErrTimeout) {
		return nil, fmt.Errorf("call %s: %w", r.path, cause(ctx, err))
	}
	return nil, status
}

// answer is a response's body whose reads are bounded in time. One goroutine uses it.
type answer struct {
	ctx         context.Context //nolint:containedctx // of the one request that the answer belongs to
	stop        func() bool     // the end of ctx no longer closes conn
	conn        *conn           // nil: the answer has been read to its end, or closed
	pool        *pool           // where conn belongs
	body        body
	status      int
	length      int64 // less than 0: unknown
	contentType string
	idle        time.Duration
	heard       func() // something has come
}

// next is an sse.Source.
func (a *answer) next() ([]byte, error) {
	if a.conn == nil {
		return nil, io.EOF
	}
	a.conn.idle = a.idle
	part, err := a.body.next()
	switch {
	case err == nil:
		a.heard()
	case errors.Is(err, io.EOF):
		a.release()
	default:
		err = cause(a.ctx, err)
	}
	return part, err
}

// release gives the connection of an answer that was read to its end to the next call.
func (a *answer) release() {
	c := a.conn
	a.conn = nil
	if a.stop() && c.isClean() {
		c.in.drop()
		a.pool.put(c)
	} else {
		c.close()
	}
}

func (a *answer) readAll(limit int) ([]byte, error) {
	all := make([]byte, 0, min(max(a.length, 0), int64(limit)))
	for {
		part, err := a.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if all = append(all, part...); len(all) > limit {
			return nil, fmt.Errorf("read answer of more than %d bytes: %w", limit, ErrTooLarge)
		}
	}
}

func (a *answer) isEventStream() bool {
	if a.contentType == eventStream || a.contentType == eventStream+"; charset=utf-8" { // as nearly all say
		return true
	}
	media, _, err := mime.ParseMediaType(a.contentType)
	return err == nil && media == eventStream
}

// close ends an answer that was not read to its end, by closing its connection.
func (a *answer) close() {
	if a.conn == nil {
		return
	}
	a.stop()
	a.conn.close()
	a.conn = nil
}
