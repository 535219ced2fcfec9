package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listen opens addr for what, which names the setting too.
func listen(ctx context.Context, addr, what string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s for %s: %w: end what has the port, or set another", addr, what, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s for %s: %w", addr, what, err)
	}
	return ln, nil
}

// metricsHandler serves a registry; a collector that fails does not hide the others.
func metricsHandler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: reg, EnableOpenMetrics: true})
}

// nextPorts is how many ports listenNear tries before it takes any.
const nextPorts = 10

// listenNear is listen, but for a port that is in use: then it takes one of the next, or any.
func listenNear(ctx context.Context, addr, what string) (net.Listener, error) {
	ln, err := listen(ctx, addr, what)
	host, text, _ := net.SplitHostPort(addr)
	port, unknown := strconv.Atoi(text)
	for next := 1; errors.Is(err, syscall.EADDRINUSE) && unknown == nil && next <= nextPorts; next++ {
		near := strconv.Itoa(port + next)
		if next == nextPorts {
			near = "0"
		}
		ln, err = listen(ctx, net.JoinHostPort(host, near), what)
	}
	return ln, err
}

// operators adds a listener for operators to infra; without an address there is none.
func (p *process) operators(ctx context.Context, infra *layer, addr, setting string, handler http.Handler) error {
	if addr == "" {
		return nil
	}
	ln, err := listen(ctx, addr, "operators ("+setting+")")
	if err != nil {
		return err
	}
	p.operatorsOn(ctx, infra, ln, handler)
	return nil
}

// operatorsOn adds serving operators on ln, which infra then closes.
func (p *process) operatorsOn(ctx context.Context, infra *layer, ln net.Listener, handler http.Handler) {
	p.log.InfoContext(ctx, "serving operators", slog.String("addr", ln.Addr().String()))
	infra.run(func(ctx context.Context) error { return serveOperators(ctx, ln, handler) })
}

// serveOperators serves handler on ln, which it closes, until ctx ends. Nobody waits for requests
// of operators to end.
func serveOperators(ctx context.Context, ln net.Listener, handler http.Handler) error {
	const profile = 2 * time.Minute // the longest that one may ask for
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: profile, IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// workerRoutes is what a worker has for operators.
func workerRoutes(reg *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(reg))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return mux
}
