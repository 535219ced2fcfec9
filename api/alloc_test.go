//go:build !race

package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/router"
)

// discard is a client that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
func (d discard) FlushError() error           { return nil }

func (d discard) SetReadDeadline(time.Time) error  { return nil }
func (d discard) SetWriteDeadline(time.Time) error { return nil }

// What a request costs between net/http and the router.
func TestAllocationsOfARequest(t *testing.T) {
	const most = 42
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "data: {}\n\n"), nil }}
	s := New(DefaultConfig(), Deps{Router: r, Fleet: oneModel, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	body := strings.NewReader(chatSSE)
	req := httptest.NewRequest(http.MethodPost, chatPath, body)
	out := discard{http.Header{}}
	if n := testing.AllocsPerRun(200, func() {
		body.Reset(chatSSE)
		clear(out.header)
		s.Handler().ServeHTTP(out, req)
	}); n > most {
		t.Errorf("a streamed request makes %.1f allocations, want at most %d", n, most)
	}
}
