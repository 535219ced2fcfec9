package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
)

// foreign is an engine that others run: its answer to a prefill, and its metrics.
type foreign struct {
	status  int
	prefill string
	metrics string
}

func (f foreign) serve(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"object":"list","data":[{"id":"smol"}]}`)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, f.metrics) })
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(f.status)
		fmt.Fprint(w, f.prefill)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

const withHandle = `{"usage":{"prompt_tokens":1},"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1]]}}`

func TestCheckOfAnEngine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		engine foreign
		role   wire.Role
		lease  time.Duration
		unfit  bool
		again  bool   // it could not be told yet
		log    string // part of a warning; empty: there is none
	}{
		{name: "prefill", engine: foreign{status: 200, prefill: withHandle}, role: wire.RolePrefill},
		{name: "prefill without a connector", engine: foreign{status: 200, prefill: `{"kv_transfer_params":null}`}, role: wire.RolePrefill, unfit: true},
		{name: "prefill with an answer that cannot be read", engine: foreign{status: 200, prefill: `<html>`}, role: wire.RolePrefill, again: true, log: "not checked yet"},
		{name: "prefill that takes no completions", engine: foreign{status: 404, prefill: `{}`}, role: wire.RolePrefill, log: "refused the prompt"},
		{name: "prefill that fails", engine: foreign{status: 500, prefill: `{}`}, role: wire.RolePrefill, again: true, log: "not checked yet"},
		{name: "lease that cannot be known", engine: foreign{status: 200, prefill: withHandle}, role: wire.RolePrefill, lease: 90500 * time.Millisecond, log: `kv_lease_duration\":91`},
		{name: "decode", engine: foreign{metrics: "vllm:nixl_num_failed_transfers_total{engine=\"0\"} 0.0\n"}, role: wire.RoleDecode},
		{name: "decode without a connector", engine: foreign{metrics: "vllm:num_requests_running 0\n"}, role: wire.RoleDecode, log: "second time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logged bytes.Buffer
			url := tt.engine.serve(t)
			client := engine.New(url, engine.DefaultConfig(), nil, nil, slog.New(slog.DiscardHandler))
			defer client.Close()
			err := checkEngine(t.Context(), &checked{
				client: client, url: url, role: tt.role, model: "smol", connector: kvtransfer.NIXL{}, lease: tt.lease,
				log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn})),
			})
			if errors.Is(err, errUnfit) != tt.unfit || (err != nil) != (tt.unfit || tt.again) {
				t.Errorf("check = %v", err)
			}
			if tt.unfit && (!strings.Contains(err.Error(), "prefilled twice") || !strings.Contains(err.Error(), "kv_producer")) {
				t.Errorf("the error says not what to do: %v", err)
			}
			if got := logged.String(); (got == "") != (tt.log == "") || !strings.Contains(got, tt.log) {
				t.Errorf("warnings %q, want %q in them", got, tt.log)
			}
		})
	}
}

// A worker is ready only after its engine was found fit, asks again as long as that cannot be told, and
// does not ask twice.
func TestProbeWaitsForTheCheck(t *testing.T) {
	client := engine.New(foreign{}.serve(t), engine.DefaultConfig(), nil, nil, slog.New(slog.DiscardHandler))
	defer client.Close()
	probe := newEngineProbe(client, time.Millisecond)
	var checks atomic.Int32
	ready := make(chan struct{})
	probe.changed = func() { close(ready) }
	probe.check = func(_ context.Context, model string) error {
		if model != "smol" {
			t.Errorf("check of model %q", model)
		}
		if checks.Add(1) < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- probe.Run(ctx) }()
	<-ready
	cancel()
	<-ended
	if n := checks.Load(); n != 3 {
		t.Errorf("%d checks, want 3", n)
	}

	probe = newEngineProbe(client, time.Millisecond)
	probe.changed = func() { t.Error("an unfit engine became ready") }
	probe.check = func(context.Context, string) error { return errUnfit }
	if err := probe.Run(t.Context()); !errors.Is(err, errUnfit) {
		t.Errorf("Run = %v, want errUnfit", err)
	}
}
