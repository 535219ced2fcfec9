package router_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// steps is a request's life in words.
func steps(i *router.Info) (words []string) {
	for _, s := range i.Steps {
		words = append(words, fmt.Sprintf("%v %d %s %v", s.State, s.Attempt, s.Worker, s.At.Sub(i.Admitted)))
	}
	return words
}

func TestOperatorsSeeWhereARequestsTimeWent(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		req := request()
		req.Tenant = "acme"
		out := h.do(t.Context(), req)
		time.Sleep(time.Second)
		p := h.run("p1", 1, h.job()).send(wire.Prefilling, splitly)
		time.Sleep(2 * time.Second)
		p.send(wire.Handed, handed(wire.HandedInfo{PromptTokens: 700, CachedTokens: 100}))
		time.Sleep(time.Second)
		d := h.run("d1", 1, h.job()).send(wire.Decoding, splitly).send(wire.Data, "a")
		time.Sleep(time.Second)
		d.send(wire.Data, "b")
		now := h.r.Requests()
		if len(now) != 1 || now[0].State != router.Decoding || now[0].Worker != "d1" {
			t.Fatalf("in flight is %+v", now)
		}
		d.send(wire.End, finish(wire.EndInfo{PromptTokens: 700, CompletionTokens: 11}))
		if _, err := rest(h.now(out).answer); err != nil {
			t.Fatal(err)
		}

		past := h.r.Past(10)
		if len(past) != 1 {
			t.Fatalf("%d requests are remembered, want 1", len(past))
		}
		i := past[0]
		want := []string{"queued 1  0s", "prefilling 1 p1 1s", "handed 1 p1 3s", "decoding 1 d1 4s", "done 1  5s"}
		if diff := cmp.Diff(want, steps(&i)); diff != "" {
			t.Error(diff)
		}
		if i.State != router.Done || i.Tenant != "acme" || i.Timing.PrefillWorker != "p1" || i.Timing.DecodeWorker != "d1" || i.Timing.Why != "split" ||
			i.Timing.FirstToken != 4*time.Second || i.TPOT() != 100*time.Millisecond || i.Timing.PromptTokens != 700 || i.Usage.CompletionTokens != 11 {
			t.Errorf("remembered is %+v with a TPOT of %v", i, i.TPOT())
		}
		if m := h.r.Figures().Summary(time.Now()); m.Done != 1 || m.CompletionTokens != 11 {
			t.Errorf("the last minute is %+v", m)
		}
	})
}

func TestOperatorsSeeEveryTry(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		for range 3 {
			h.run("p1", uint64(h.job().Attempt), h.job()).send(wire.Prefilling, splitly).fail(wire.Failure{Reason: wire.EngineDown, Message: "secret of an engine"})
			time.Sleep(2 * time.Second)
		}
		wantError(t, h.now(out).err, 503, "engine_down")
		i := h.r.Past(1)[0]
		if i.State != router.Failed || i.Reason != "engine_down" || i.Status != 503 || i.Attempt != 3 || len(i.Steps) != 7 {
			t.Errorf("remembered is %+v", i)
		}
	})
}

func TestAnOperatorCancels(t *testing.T) {
	for _, decoding := range []bool{false, true} {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			out := h.do(t.Context(), request())
			var d *run
			var res result
			if decoding {
				d = h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "a")
				res = h.now(out)
			}
			if h.r.Cancel("r2") {
				t.Error("a request that nobody knows was cancelled")
			}
			if !h.r.Cancel("r1") || h.r.Cancel("r1") {
				t.Error("the request was not cancelled once")
			}
			var err error
			if decoding {
				_, err = rest(res.answer)
				res.answer.Close()
			} else {
				err = h.now(out).err
			}
			var told *router.Error
			if !errors.As(err, &told) || told.Status != 410 || told.Code != "cancelled" {
				t.Errorf("the client is told %v", err)
			}
			if decoding && !d.cancelled() {
				t.Error("the run goes on")
			}
			if !decoding && len(h.queue.gone()) != 1 {
				t.Error("the job stays in the queue")
			}
			h.over(map[string]int{"cancelled": 1})
		})
	}
}

func TestOnlyTheLastRequestsAreRemembered(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		const many = 600
		for n := range many {
			req := request()
			req.ID = fmt.Sprint(n)
			out := h.do(t.Context(), req)
			h.r.Cancel(req.ID)
			h.now(out)
		}
		past := h.r.Past(many)
		if len(past) >= many || past[0].ID != fmt.Sprint(many-1) || past[len(past)-1].ID != fmt.Sprint(many-len(past)) {
			t.Errorf("%d are remembered, from %s to %s", len(past), past[0].ID, past[len(past)-1].ID)
		}
		if got := h.r.Past(2); len(got) != 2 || got[1].ID != fmt.Sprint(many-2) {
			t.Errorf("the last two are %+v", got)
		}
	})
}
