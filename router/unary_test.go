package router_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func unary(whole bool) *router.Request {
	req := request()
	req.Streaming, req.Whole = false, whole
	return req
}

// place is what the run of a request says of how it was placed.
func place(whole bool) string {
	if whole {
		return wholly
	}
	return splitly
}

// The client of an answer that is not streamed has seen nothing until the end, so that whatever
// breaks before it is tried again.
func TestUnaryAnswerThatBreaksOffIsTriedAgain(t *testing.T) {
	for name, breaks := range map[string]func(h *rig, d *run){
		"by its worker's word":   func(_ *rig, d *run) { d.fail(wire.Failure{Reason: wire.EngineDown}) },
		"by its worker's death":  func(h *rig, d *run) { h.fleet.onGone(d.id.Worker) },
		"by an engine's failure": func(_ *rig, d *run) { d.fail(wire.Failure{Reason: wire.EngineError, Status: 500}) },
	} {
		for _, whole := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
					out := h.do(t.Context(), unary(whole))
					d := h.run("d1", 1, h.job()).send(wire.Decoding, place(whole)).send(wire.Data, "ha")
					breaks(h, d)
					time.Sleep(2 * time.Second)
					h.waits(out)
					if got := h.job().Attempt; got != 2 {
						t.Fatalf("the last job is of attempt %d, want 2", got)
					}
					h.run("d2", 1, h.job()).send(wire.Decoding, place(whole)).send(wire.Data, "whole").send(wire.End, finish(wire.EndInfo{CompletionTokens: 3}))
					res := h.now(out)
					if res.err != nil {
						t.Fatal(res.err)
					}
					if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"whole"}) {
						t.Errorf("answer is %q, %v", got, err)
					}
					if got := res.answer.Timing(); got.Attempts != 2 || got.FirstToken < 2*time.Second || got.DecodeWorker != "d2" {
						t.Errorf("timing is %+v", got)
					}
					res.answer.Close()
					h.over(map[string]int{"done": 1})
				})
			})
		}
	}
}

func TestUnaryAnswerThatKeepsBreakingIsAnError(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), unary(false))
		for range 3 {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			h.run("d1", uint64(h.job().Attempt), h.job()).send(wire.Decoding, "").send(wire.Data, "ha").fail(wire.Failure{Reason: wire.EngineDown})
		}
		wantError(t, h.now(out).err, 503, "engine_down")
		h.over(map[string]int{"failed": 1})
	})
}

// A worker that drains may hand a whole request back after it has sent some of the answer.
func TestUnaryPiecesOfARunThatWasGivenBackAreDropped(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), unary(true))
		first := h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "ha")
		h.run("d2", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "whole").send(wire.End, "")
		if !first.cancelled() {
			t.Error("the first run goes on")
		}
		res := h.now(out)
		if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"whole"}) {
			t.Errorf("answer is %q, %v", got, err)
		}
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

func TestUnaryAnswerIsTakenAsItComesAndBounded(t *testing.T) {
	cfg := router.DefaultConfig()
	cfg.MaxAnswer = 10
	bubble(t, cfg, func(t *testing.T, h *rig) {
		out := h.do(t.Context(), unary(false))
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "12345").send(wire.Data, "67890")
		if got := h.recv.consumed[d.id]; got != 2 {
			t.Errorf("the worker may go on after frame %d, want 2: nobody reads until the end", got)
		}
		h.waits(out)
		d.send(wire.Data, "x")
		if !d.cancelled() {
			t.Error("the run goes on")
		}
		wantError(t, h.now(out).err, 502, "engine_error")
		h.over(map[string]int{"failed": 1})
	})
}
