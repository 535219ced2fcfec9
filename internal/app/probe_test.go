package app

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/engine"
)

// An engine whose core dies drops its requests at once, while its HTTP server may answer for seconds more, or hang.
func TestEngineThatDropsACallIsNotReadyAtOnce(t *testing.T) {
	var dead atomic.Bool
	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			dead.Store(true)
			panic(http.ErrAbortHandler)
		case dead.Load():
			<-released
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"data":[{"id":"m"}]}`))
	}))
	defer server.Close()
	defer close(released)
	client := engine.New(server.URL, engine.DefaultConfig(), nil, nil, slog.New(slog.DiscardHandler))
	defer client.Close()
	changes := make(chan bool, 8)
	const never = time.Hour // between two probes: what happens is not their doing
	probe := newEngineProbe(client, never)
	probe.changed = func() {
		_, why := probe.state()
		changes <- why == ""
	}
	client.OnDown(probe.doubt)
	go func() { _ = probe.Run(t.Context()) }()
	if !<-changes {
		t.Fatal("the engine is not ready after its first probe")
	}
	if _, err := client.Post(t.Context(), engine.Call{Path: "/v1/completions", Body: []byte("{}")}); err == nil {
		t.Fatal("the call did not fail")
	}
	if <-changes {
		t.Error("the engine counts as ready after it dropped a call")
	}
}
