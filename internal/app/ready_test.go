package app

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/wire"
)

// The only decode engine fails while nobody asks anything of it. Load balancers hear of it at /readyz, which tells
// what is missing, and again when it is back.
func TestEngineThatFailsWithoutTrafficIsMissedInVirtualTime(t *testing.T) {
	for name, c := range map[string]struct {
		faults enginesim.Faults
		within time.Duration
	}{
		"its process is gone":                   {enginesim.Faults{Crash: true}, 2 * time.Second},
		"its core is dead and its server lives": {enginesim.Faults{Dead: true}, 2 * time.Second},
		"it takes calls and answers none":       {enginesim.Faults{Freeze: true}, askTime + 2*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := onePair()
			deployedInVirtualTime(t, cfg, func(t *testing.T, d *deployment, client *http.Client) {
				ready := func(within time.Duration, want int, missing ...string) {
					t.Helper()
					for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
						resp, err := client.Get(MemoryURL + "/readyz")
						if err != nil {
							t.Fatal(err)
						}
						var said struct{ Missing []string }
						err = json.NewDecoder(resp.Body).Decode(&said)
						_ = resp.Body.Close()
						if err == nil && resp.StatusCode == want && slices.Equal(said.Missing, missing) {
							return
						}
						if time.Since(begun) > within {
							t.Fatalf("%v later /readyz is %d, missing %q, %v; want %d, %q", within, resp.StatusCode, said.Missing, err, want, missing)
						}
					}
				}
				ready(0, http.StatusOK)
				d.faults(wire.RoleDecode, c.faults)
				ready(c.within, http.StatusServiceUnavailable, "no decode worker for model "+cfg.Sim.Model)
				d.faults(wire.RoleDecode, enginesim.Faults{})
				ready(c.within, http.StatusOK)
			})
		})
	}
}
