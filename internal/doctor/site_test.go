package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/doctor"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

func TestMain(m *testing.M) {
	natsd.HoldClock()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// site is a deployment as it looks from outside: a NATS server, streams, announcements and engines.
type site struct {
	subject   doctor.Subject
	nats      natsd.Config
	streams   bool                // a frontend has made them
	processes []wire.Announcement // that announce themselves; those without an engine get the site's
	skew      time.Duration       // of the clock of the last process
	prefill   enginesim.Config
	decode    enginesim.Config
}

// healthy has nothing wrong with it.
func healthy() *site {
	s := &site{
		subject: doctor.Subject{
			NATS: bus.DefaultConfig(), Fleet: fleet.DefaultConfig(), Engine: engine.DefaultConfig(),
			Mode: schedule.Elastic, Window: 4096, Lease: 25 * time.Second, Batch: 1344, Chunk: 1024, Role: bus.Operator, Version: "v1", Listen: 300 * time.Millisecond,
		},
		nats: natsd.DefaultConfig(), streams: true, prefill: enginesim.DefaultConfig(), decode: enginesim.DefaultConfig(),
	}
	s.prefill.Role, s.decode.Role = "prefill", "decode"
	for _, role := range []wire.Role{wire.RoleFrontend, wire.RolePrefill, wire.RoleDecode} {
		s.processes = append(s.processes, wire.Announcement{ID: string(role) + "-1", Role: role, Able: role, Version: "v1", Started: time.Now(), Interval: time.Second, Ready: true, Models: []wire.Model{{ID: "m"}}})
	}
	return s
}

// examine builds the site and has a doctor look at it.
func (s *site) examine(t *testing.T) *doctor.Report {
	t.Helper()
	server, err := natsd.Start(s.nats, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	s.subject.InProcess = server
	if s.streams {
		b, err := bus.Connect(t.Context(), bus.DefaultConfig(), "frontend", server, telemetry.Registry(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		urls := map[wire.Role]string{wire.RolePrefill: simulated(t, s.prefill), wire.RoleDecode: simulated(t, s.decode)}
		for i, p := range s.processes {
			if p.Engine == "" {
				p.Engine = urls[p.Able]
			}
			skew := time.Duration(0)
			if i == len(s.processes)-1 {
				skew = s.skew
			}
			announce(t, b, p, skew)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return doctor.Examine(ctx, s.subject)
}

// announce answers each hello.
func announce(t *testing.T, b *bus.Bus, p wire.Announcement, skew time.Duration) {
	t.Helper()
	stop, err := b.Subscribe(wire.HelloSubject, func([]byte) {
		p.At = time.Now().Add(skew)
		text, err := json.Marshal(p)
		if err == nil {
			err = b.Publish(wire.AnnounceSubject, text)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

// simulated runs an engine until the end of the test.
func simulated(t *testing.T, cfg enginesim.Config) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := enginesim.New(cfg, enginesim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-ended })
	return "http://" + ln.Addr().String()
}

// foreign is an engine that says what a test wants; what it does not say is 404.
func foreign(t *testing.T, says map[string]string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := says[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// vllm says what a vLLM in development mode says, with a replacement for each old, new.
func vllm(t *testing.T, replace ...string) (url string) {
	t.Helper()
	says := map[string]string{
		"/health": "", "/version": `{"version":"0.32.0"}`,
		"/v1/models":      `{"data":[{"id":"smol","root":"/models/smol","max_model_len":2048}]}`,
		"/v1/completions": `{"usage":{"prompt_tokens":1},"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1]]}}`,
		"/metrics": "vllm:nixl_num_failed_transfers_total 0\nvllm:nixl_num_notifications_after_expiry_total 0\nvllm:nixl_num_kv_expired_reqs_total 0\n" +
			`vllm:cache_config_info{block_size="16",enable_prefix_caching="True",num_gpu_blocks="100"} 1` + "\n",
		"/server_info": `{"vllm_config":{"model_config":{"model":"/models/smol"},"scheduler_config":{"max_num_batched_tokens":1344,"long_prefill_token_threshold":1024},
			"kv_transfer_config":{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_connector_extra_config":{"kv_lease_duration":30}}}}`,
	}
	for path, text := range says {
		says[path] = strings.NewReplacer(replace...).Replace(text)
	}
	return foreign(t, says)
}
