package app

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	openai "github.com/sashabaranov/go-openai"
)

// apiError is what the client must make of a failure; a *openai.RequestError means that it did not
// find an error it understands.
func apiError(t *testing.T, err error, status int) *openai.APIError {
	t.Helper()
	var failed *openai.APIError
	if !errors.As(err, &failed) {
		t.Fatalf("error is %T %v, want an *openai.APIError", err, err)
	}
	if failed.HTTPStatusCode != status || failed.Code != status || failed.Message == "" {
		t.Errorf("error is %+v, want the status %d", failed, status)
	}
	return failed
}

func TestGoClientUnderstandsFailures(t *testing.T) {
	plain := func(cfg *Config) openai.ChatCompletionRequest { return question(cfg, "hello") }
	for _, tt := range []struct {
		name   string
		config func(*Config)
		faults enginesim.Faults
		ask    func(*Config) openai.ChatCompletionRequest
		status int
	}{
		{name: "bad request", status: 400, ask: func(cfg *Config) openai.ChatCompletionRequest {
			req := question(cfg, "hello")
			req.Temperature = -1
			return req
		}},
		{name: "too long for the engine", status: 400, ask: func(cfg *Config) openai.ChatCompletionRequest {
			return question(cfg, strings.Repeat("x", 4*cfg.Sim.MaxModelLen))
		}},
		{name: "no such model", status: 404, ask: func(cfg *Config) openai.ChatCompletionRequest {
			req := question(cfg, "hello")
			req.Model = "other/model"
			return req
		}},
		{name: "too large", status: 413, config: func(cfg *Config) { cfg.API.MaxBody = 100 }, ask: plain},
		{name: "refused by the engine", status: 422, faults: enginesim.Faults{Status: 422}, ask: plain},
		{name: "engine fails", status: 500, faults: enginesim.Faults{Status: 500}, ask: plain},
		{name: "engine talks nonsense", status: 502, faults: enginesim.Faults{Garbage: true}, ask: plain},
		{name: "engine is silent", status: 504, config: func(cfg *Config) { cfg.API.RequestTimeout = 200 * time.Millisecond }, faults: enginesim.Faults{Hang: true}, ask: plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := quick()
			if tt.config != nil {
				tt.config(&cfg)
			}
			base, d := startUp(t, cfg)
			for _, s := range d.engines {
				s.engine.SetFaults(tt.faults)
			}
			req := tt.ask(&cfg)
			_, err := sdk(base).CreateChatCompletion(t.Context(), req)
			apiError(t, err, tt.status)
			_, err = chunks(t.Context(), sdk(base), req)
			apiError(t, err, tt.status)
		})
	}
}

func TestGoClientSeesAStreamBreakOff(t *testing.T) {
	cfg := quick()
	cfg.Router.ContinueBytes = 0
	base, d := startUp(t, cfg)
	for _, s := range d.engines {
		s.engine.SetFaults(enginesim.Faults{CutAfter: 5})
	}
	streamed, err := chunks(t.Context(), sdk(base), question(&cfg, "hello"))
	var failed *openai.APIError
	if !errors.As(err, &failed) || failed.Code != http.StatusBadGateway {
		t.Errorf("error is %T %v, want code 502", err, err)
	}
	if got, want := textOf(streamed, 0), proven(t, question(&cfg, "hello")); got == "" || !strings.HasPrefix(want, got) {
		t.Errorf("text before it is %q, want the beginning of %q", got, want)
	}
}

func TestGoClientIsTurnedAwayWhileOthersRun(t *testing.T) {
	cfg := quick()
	cfg.Sim.TimeScale = 1
	cfg.Router.All.Requests = 2
	base, d := startUp(t, cfg)
	long := question(&cfg, "hello")
	long.MaxCompletionTokens = 100_000
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for range 2 {
		stream, err := sdk(base).CreateChatCompletionStream(ctx, long)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
	}
	_, err := sdk(base).CreateChatCompletion(t.Context(), question(&cfg, "me too"))
	apiError(t, err, http.StatusTooManyRequests)
	leave()
	nothingHeld(t, d)
}
