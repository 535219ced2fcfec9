package app

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

// Whatever happens to a request, its prompt, its answer and the keys that it came with are in no log, neither
// at the level that is default nor at the one that says most.
func TestLogsHoldNoPromptsAndNoKeys(t *testing.T) {
	for _, level := range []string{"INFO", "DEBUG"} {
		t.Run(level, func(t *testing.T) {
			const prompt, engineKey, header, query = "marker-of-a-prompt", "marker-of-an-engines-key", "marker-of-a-header", "marker-of-a-query"
			keysFile := filepath.Join(t.TempDir(), "keys.yaml")
			key := newKey(t, keysFile, "acme")
			cfg := quick()
			if err := cfg.Log.Level.UnmarshalText([]byte(level)); err != nil {
				t.Fatal(err)
			}
			cfg.API.Auth.KeysFile, cfg.Engine.APIKey, cfg.Sim.APIKey = keysFile, engineKey, engineKey
			var logs logBuffer
			base, d := startUpLogging(t, cfg, network{listen: net.Listen}, &logs)
			client := &http.Client{Transport: bearer{key, telltale{header}}}
			body := chatBody(cfg.Sim.Model, prompt+" "+words(1000), 5)
			answer, err := streamChat(t.Context(), client, base, body)
			if err != nil {
				t.Fatal(err)
			}
			stranger := &http.Client{Transport: bearer{key + "x", http.DefaultTransport}}
			for what, bad := range map[string]string{
				"no JSON": prompt, "no model": `{"messages":[{"role":"user","content":"` + prompt + `"}]}`, "unknown model": strings.Replace(body, cfg.Sim.Model, "none", 1),
				"too long": strings.Replace(body, `"max_tokens":5`, `"max_tokens":100000000`, 1),
			} {
				if _, err := streamChat(t.Context(), client, base, bad); err == nil {
					t.Errorf("%s: no error", what)
				}
			}
			if _, err := streamChat(t.Context(), stranger, base, body); err == nil {
				t.Error("another's key was taken")
			}
			if _, err := streamChat(t.Context(), client, base+"/"+query+"?key="+query+"&rest=", body); err == nil { // the path follows
				t.Error("a path that is none was taken")
			}
			for what, f := range map[string]enginesim.Faults{
				"an error of the engine": {Status: 500}, "a refusal of the engine": {Status: 400}, "garbage": {Garbage: true}, "a stream that is cut": {CutAfter: 2},
				"a dead core": {Dead: true},
			} {
				for _, s := range d.engines {
					s.engine.SetFaults(f)
				}
				// A dead core may be known before the request comes, which then waits for an engine.
				ctx, leave := context.WithTimeout(t.Context(), 5*time.Second)
				if _, err := streamChat(ctx, client, base, strings.Replace(body, `"max_tokens":5`, `"max_tokens":50`, 1)); err == nil {
					t.Errorf("%s: no error", what)
				}
				leave()
			}
			for _, s := range d.engines {
				s.engine.SetFaults(enginesim.Faults{})
			}
			nothingHeld(t, d)
			said := logs.String()
			if !strings.Contains(said, "level=INFO") {
				t.Fatalf("nothing is logged:\n%s", said)
			}
			for what, secret := range map[string]string{"prompt": prompt, "answer": answer, "key": key, "engine's key": engineKey, "header": header, "query": query} {
				if strings.Contains(said, secret) {
					t.Errorf("the log holds the %s:\n%s", what, said)
				}
			}
		})
	}
}

// telltale sends headers with what must stay between client and server.
type telltale struct{ value string }

// RoundTrip implements http.RoundTripper.
func (s telltale) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, name := range []string{"Cookie", "X-Api-Key", "Proxy-Authorization", "X-Forwarded-Authorization", "X-Baton-Unknown"} {
		r.Header.Set(name, s.value)
	}
	return http.DefaultTransport.RoundTrip(r)
}
