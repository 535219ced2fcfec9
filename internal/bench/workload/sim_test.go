package workload_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/pipenet"
)

// The lengths that are planned are the lengths that the simulated engine counts, in virtual time
// and over the network in memory.
func TestTheSimulatedEngineCountsAsPlanned(t *testing.T) {
	for name, tt := range map[string]struct {
		endpoint bench.Endpoint
		change   func(*workload.Spec)
	}{
		"text":          {bench.Completions, func(*workload.Spec) {}},
		"tokens":        {bench.Completions, func(s *workload.Spec) { s.Prompt = "tokens" }},
		"chat":          {bench.Chat, func(*workload.Spec) {}},
		"shared prefix": {bench.Chat, func(s *workload.Spec) { s.Workload, s.PrefixLen, s.Prefixes = workload.SharedPrefix, 256, 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := pipenet.New()
				cfg := enginesim.DefaultConfig()
				engine, err := enginesim.New(cfg, enginesim.Options{
					Listen: func(_, addr string) (net.Listener, error) { return mem.Listen(addr) }, Dial: mem.Dial,
				})
				if err != nil {
					t.Fatal(err)
				}
				ln, err := mem.Listen("engine:80")
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- engine.Run(ctx, ln) }()

				s := spec(func(s *workload.Spec) { s.RangeRatio, s.Rate = 0.2, 10 })
				tt.change(&s)
				p, err := workload.Plan([]workload.Spec{s}, tt.endpoint, 0)
				if err != nil {
					t.Fatal(err)
				}
				target := bench.Target{URL: "http://engine:80", Endpoint: tt.endpoint, Model: cfg.Model, Dial: mem.Dial}
				result, err := bench.Run(t.Context(), target, p, bench.Options{IgnoreEOS: true})
				if err != nil {
					t.Fatal(err)
				}
				cached := 0
				for _, rec := range result.Records {
					if rec.Err != nil || rec.PromptTokens != rec.InputLen || rec.OutputTokens != rec.OutputLen {
						t.Errorf("%v: %d tokens in, %d out; planned %d and %d", rec.Err, rec.PromptTokens, rec.OutputTokens, rec.InputLen, rec.OutputLen)
					}
					cached += rec.CachedTokens
				}
				if (cached > 0) != (s.Workload == workload.SharedPrefix) {
					t.Errorf("%d tokens came from the prefix cache", cached)
				}
				stop()
				if err := <-ended; err != nil {
					t.Errorf("engine: %v", err)
				}
			})
		})
	}
}
