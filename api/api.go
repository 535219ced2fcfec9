// Package api is the HTTP surface that clients see: an OpenAI-compatible server as vLLM is one.
// It owns reading and checking requests, the form of answers, streams and errors, and the life of
// the listener. It must not know how a request is scheduled or where it runs: that is router's.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// Answer is one answer that has begun; its methods are router.Answer's. It is used by one
// goroutine.
type Answer interface {
	Next(ctx context.Context) ([]byte, error)
	More() bool
	Direct(write router.Writer)
	Timing() router.Timing
	Usage() wire.EndInfo
	Close()
}

// Router carries out requests; see FromRouter.
type Router interface {
	Do(ctx context.Context, req *router.Request) (Answer, error)
}

// FromRouter makes a Router of baton's own.
func FromRouter(r *router.Router) Router { return adapter{r} }

type adapter struct{ router *router.Router }

func (a adapter) Do(ctx context.Context, req *router.Request) (Answer, error) {
	answer, err := a.router.Do(ctx, req)
	if err != nil {
		return nil, err // not the nil pointer, which would be a non-nil Answer
	}
	return answer, nil
}

// Fleet says which models there are; its methods are fleet.Fleet's.
type Fleet interface {
	Models() []wire.Model
	Model(id string) (fleet.Status, bool)
	Missing() []string
}

// Deps is what a Server works with. Router, Fleet, Registerer and Log are required.
type Deps struct {
	Router     Router
	Fleet      Fleet
	Metrics    http.Handler  // serves GET /metrics; nil: the route does not exist
	Keys       *auth.Keyring // nil: everyone may use everything
	AdminKeys  *auth.Keyring // of operators on other machines; nil: there are none
	Live       Live          // below /admin for operators; nil: the routes do not exist
	Registerer prometheus.Registerer
	Tracer     trace.Tracer // nil: none
	Log        *slog.Logger
	Version    string // of baton, for GET /version
}

// errStopped is the cause that ends requests which outlast the drain.
var errStopped = errors.New("the server is stopping")

// Server serves HTTP. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	metrics  *metrics
	memory   *memory // for bodies that are being read
	handler  http.Handler
	draining atomic.Bool
	watchers atomic.Int32 // streams of live events

	few       int32        // see its constant
	kept      atomic.Int32 // requests that net/http keeps while they are carried out
	exchanges exchanges
}

// New makes a server that does nothing until Serve is called.
func New(cfg Config, deps Deps) *Server {
	if deps.Tracer == nil {
		deps.Tracer = noop.NewTracerProvider().Tracer("")
	}
	s := &Server{cfg: cfg, deps: deps, log: deps.Log, metrics: newMetrics(deps.Registerer), few: few}
	s.exchanges.open = map[*exchange]struct{}{}
	s.memory = newMemory(cfg.MaxBodyMemory, s.metrics.bodyBytes)
	s.handler = s.routes()
	return s
}

// Handler returns the routes, for a server of the caller's own.
func (s *Server) Handler() http.Handler { return s.handler }

func (s *Server) routes() *chi.Mux {
	mux := s.newMux(allowOrigins(s.cfg.CORSOrigins), s.trace)
	mux.Use(s.authenticate)
	for path, endpoint := range generatePaths {
		mux.Post(path, s.generate(endpoint))
	}
	for _, path := range passthroughPaths {
		mux.Post(path, s.passthrough)
	}
	mux.Get("/v1/responses/{id}", s.noStoredResponse)
	mux.Post("/v1/responses/{id}/cancel", s.noStoredResponse)
	mux.Get("/v1/models", s.models)
	mux.Get("/v1/models/*", s.model)
	s.probes(mux)
	mux.Get("/openapi.json", openAPI(s.deps.Version))
	if s.cfg.AdminListen == "" {
		s.scrape(mux)
	}
	return mux
}

// newMux makes a router with what every listener needs; around stands inside of the count and
// outside of all else.
func (s *Server) newMux(around ...func(http.Handler) http.Handler) *chi.Mux {
	mux := chi.NewMux()
	mux.Use(s.observe)
	mux.Use(around...)
	mux.Use(s.recoverPanic, middleware.GetHead)
	mux.NotFound(s.notFound)
	mux.MethodNotAllowed(s.methodNotAllowed(mux))
	return mux
}

func (s *Server) probes(mux *chi.Mux) {
	for _, path := range []string{"/healthz", "/health", "/ping"} {
		mux.Get(path, s.healthz)
	}
	mux.Get("/readyz", s.readyz)
	mux.Get("/version", s.version)
}

func (s *Server) scrape(mux *chi.Mux) {
	if s.deps.Metrics != nil {
		mux.Method(http.MethodGet, "/metrics", s.deps.Metrics)
	}
}

// Serve serves on ln, which it closes, until ctx ends; then it turns readiness off, lets running
// requests finish within the drain timeout, ends the rest with an error the client can read, and
// returns nil, or an error if a handler did not end even then. It is called once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeader,
		Protocols:         new(http.Protocols),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // broken connections
	}
	srv.Protocols.SetHTTP1(true)
	serve := srv.Serve
	if s.cfg.TLSCert == "" {
		srv.Protocols.SetUnencryptedHTTP2(true)
	} else {
		pair, err := loadKeyPair(s.cfg.TLSCert, s.cfg.TLSKey, s.log)
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		srv.Protocols.SetHTTP2(true)
		srv.TLSConfig = pair.config()
		serve = func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") }
	}

	s.exchanges.serve = giveBack(srv, ln.Addr())
	served := make(chan error, 1)
	go func() { served <- serve(newListener(ln, s.cfg.MaxConnections, s.metrics.connections)) }()
	s.log.InfoContext(ctx, "serving", slog.String("addr", ln.Addr().String()), slog.Bool("tls", s.cfg.TLSCert != ""))
	select {
	case err := <-served:
		end(errStopped)
		return errors.Join(fmt.Errorf("serve on %s: %w", ln.Addr(), err), s.stop(base, srv))
	case <-ctx.Done():
	}

	s.draining.Store(true)
	s.log.InfoContext(ctx, "draining", slog.Duration("timeout", s.cfg.DrainTimeout))
	delay := time.NewTimer(s.cfg.DrainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case err := <-served:
		s.log.WarnContext(ctx, "listener ended during the drain", slog.Any("error", err))
	}
	wait, cancel := context.WithTimeout(base, s.cfg.DrainTimeout)
	defer cancel()
	s.exchanges.close()
	if srv.Shutdown(wait) == nil && s.exchanges.wait(wait) == nil {
		return nil
	}
	s.log.WarnContext(base, "requests outlast the drain and are ended")
	end(errStopped)
	return s.stop(base, srv)
}

// stop gives requests whose context has ended the time to say so to their clients, and then cuts
// the connections. A connection that a client opened and has not used yet keeps Shutdown waiting for up to six seconds.
func (s *Server) stop(ctx context.Context, srv *http.Server) error {
	const bound = 8 * time.Second
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	s.exchanges.close()
	s.exchanges.stop(errStopped)
	if err := errors.Join(srv.Shutdown(wait), s.exchanges.wait(wait)); err != nil {
		s.exchanges.abort()
		return errors.Join(fmt.Errorf("requests still run %v after they were told to end: %w", bound, err), srv.Close())
	}
	return nil
}
