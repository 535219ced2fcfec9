package router_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// The operator promises 5 s to the first token and 1 s for each after it; see newRig.
func TestRequestsAreJudgedByWhatIsPromised(t *testing.T) {
	type moment struct {
		after time.Duration
		kind  wire.Kind
		text  string
	}
	end := func(after time.Duration) moment {
		return moment{after, wire.End, finish(wire.EndInfo{PromptTokens: 9, CompletionTokens: 3})}
	}
	failed := func(reason, status string) moment {
		return moment{time.Second, wire.Fail, `{"reason":"` + reason + `","message":"no","status":` + status + `}`}
	}
	for name, c := range map[string]struct {
		unary   bool
		moments []moment
		verdict string // empty: none
	}{
		"in time":               {false, []moment{{5 * time.Second, wire.Data, "a"}, {2 * time.Second, wire.Data, "b"}, end(9 * time.Second)}, "met"},
		"late":                  {false, []moment{{6 * time.Second, wire.Data, "a"}, {9 * time.Second, wire.Data, "b"}, end(0)}, "late"},
		"slow":                  {false, []moment{{time.Second, wire.Data, "a"}, {3 * time.Second, wire.Data, "b"}, end(0)}, "slow"},
		"not streamed":          {true, []moment{{time.Minute, wire.Data, "ab"}, end(0)}, "met"},
		"the engine's fault":    {false, []moment{failed("no_handle", "0")}, "failed"},
		"the client's fault":    {false, []moment{failed("engine_rejected", "400")}, ""},
		"the client has left":   {false, []moment{{time.Second, wire.Data, "a"}}, ""},
		"too late for a place":  {false, []moment{failed("too_late", "429")}, "failed"},
		"no count, no judgment": {false, []moment{{time.Second, wire.Data, "a"}, {time.Hour, wire.Data, "b"}, {0, wire.End, ""}}, "met"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				req := request()
				req.Streaming = !c.unary
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				out := h.do(ctx, req)
				d := h.run("d1", 1, h.job()).send(wire.Decoding, wholly)
				for _, m := range c.moments {
					time.Sleep(m.after)
					d.send(m.kind, m.text)
				}
				if res := h.now(out); res.answer != nil {
					res.answer.Close()
				}
				want := ""
				if c.verdict != "" {
					want = "# HELP baton_request_slo_total Admitted requests that clients stayed for, by verdict: met, late (first token), slow (tokens after it) or failed.\n" +
						"# TYPE baton_request_slo_total counter\n" +
						`baton_request_slo_total{class="standard",model="m",verdict="` + c.verdict + `"} 1` + "\n"
				}
				if err := testutil.GatherAndCompare(h.reg, strings.NewReader(want), "baton_request_slo_total"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheLineOfEachClassIsShown(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		req := request()
		out := h.do(t.Context(), req)
		job := h.job()
		time.Sleep(7 * time.Second)
		batch := request()
		batch.Class = wire.Batch
		later := h.do(t.Context(), batch)
		time.Sleep(2 * time.Second)
		shows := func(standard, wait string) {
			t.Helper()
			want := `
# HELP baton_requests_oldest_wait_seconds How long the request that waits longest has no worker, by class; 0: none waits.
# TYPE baton_requests_oldest_wait_seconds gauge
baton_requests_oldest_wait_seconds{class="batch"} 2
baton_requests_oldest_wait_seconds{class="interactive"} 0
baton_requests_oldest_wait_seconds{class="standard"} ` + wait + `
# HELP baton_requests_waiting Requests of this frontend that no worker has, by class.
# TYPE baton_requests_waiting gauge
baton_requests_waiting{class="batch"} 1
baton_requests_waiting{class="interactive"} 0
baton_requests_waiting{class="standard"} ` + standard + "\n"
			if err := testutil.GatherAndCompare(h.reg, strings.NewReader(want), "baton_requests_waiting", "baton_requests_oldest_wait_seconds"); err != nil {
				t.Error(err)
			}
		}
		shows("1", "9")
		d := h.run("d1", 1, job).send(wire.Decoding, wholly)
		shows("0", "0")
		d.send(wire.Data, "a").send(wire.End, "")
		h.now(out).answer.Close()
		h.run("d1", 2, h.job()).send(wire.Decoding, wholly).send(wire.Data, "a").send(wire.End, "")
		h.now(later).answer.Close()
	})
}
