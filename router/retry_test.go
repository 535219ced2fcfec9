package router_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestFailureBeforeTheAnswerIsTriedAgain(t *testing.T) {
	for _, reason := range []wire.Reason{wire.EngineDown, wire.EngineError, wire.EngineTimeout, wire.HandleExpired, wire.HandleUsed, wire.WorkerStopping} {
		t.Run(string(reason), func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				old := h.run("p1", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "")
				dead := h.run("d1", 1, h.job()).send(wire.Decoding, "").fail(wire.Failure{Reason: reason, Message: "no"})
				time.Sleep(2 * time.Second)
				h.waits(out)
				if n := len(h.queue.all()); n != 2 || h.job().Attempt != 2 {
					t.Fatalf("%d jobs, the last with attempt %d; want 2 and 2", n, h.job().Attempt)
				}
				// What still comes of the first attempt never reaches the client.
				dead.send(wire.Data, "late")
				late := h.run("d3", 1, &old.job).send(wire.Decoding, "").send(wire.Data, "late").send(wire.End, "")
				if !late.cancelled() {
					t.Error("a run of an old attempt was not cancelled")
				}
				h.run("p2", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "")
				h.run("d2", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "good").send(wire.End, "")
				res := h.now(out)
				if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"good"}) {
					t.Errorf("answer is %q, %v", got, err)
				}
				if n := res.answer.Timing().Attempts; n != 2 {
					t.Errorf("attempts = %d, want 2", n)
				}
				res.answer.Close()
				h.over(map[string]int{"done": 1})
			})
		})
	}
}

// One broken engine must not use up all attempts.
func TestTheNextAttemptAvoidsWhoFailed(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(wire.Failure{Reason: wire.EngineError, Message: "no"})
		time.Sleep(2 * time.Second)
		h.waits(out)
		if got := h.job().Avoid; !slices.Equal(got, []string{"p1"}) {
			t.Fatalf("the second attempt avoids %q, want p1", got)
		}
		h.run("p2", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "")
		h.run("d1", 1, h.job()).send(wire.Decoding, "").fail(wire.Failure{Reason: wire.EngineDown, Message: "no"})
		time.Sleep(2 * time.Second)
		h.waits(out)
		if got := h.job().Avoid; !slices.Equal(got, []string{"p1", "d1"}) { // p2 did its part
			t.Errorf("the third attempt avoids %q, want p1 and d1", got)
		}
		h.run("d2", 1, h.job()).send(wire.Decoding, "").fail(wire.Failure{Reason: wire.EngineDown, Message: "no"})
		h.now(out)
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		for range 3 {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(wire.Failure{Reason: wire.EngineError, Message: "boom", Status: 500, Body: []byte("{}")})
		}
		e := wantError(t, h.now(out).err, 500, "engine_error")
		if !strings.Contains(e.Message, "3 times") || !strings.Contains(e.Message, "boom") || string(e.Body) != "{}" {
			t.Errorf("message is %q", e.Message)
		}
		if n := len(h.queue.all()); n != 3 {
			t.Errorf("%d jobs, want 3", n)
		}
		h.over(map[string]int{"failed": 1})
	})
}

func TestFinalFailures(t *testing.T) {
	body := []byte(`{"error":{"message":"bad top_p","type":"BadRequestError"}}`)
	for _, tt := range []struct {
		failure wire.Failure
		status  int
	}{
		{wire.Failure{Reason: wire.EngineRejected, Status: 422, Body: body}, 422},
		{wire.Failure{Reason: wire.EngineRejected, Message: "no status"}, 400},
		{wire.Failure{Reason: wire.EngineRejected, Status: 404, Body: body, Told: true}, 404},
		{wire.Failure{Reason: wire.NoHandle, Message: "params are null"}, 502},
		{wire.Failure{Reason: wire.HandleMismatch}, 502},
		{wire.Failure{Reason: wire.DeadlineOver}, 504},
	} {
		t.Run(string(tt.failure.Reason), func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(tt.failure)
				e := wantError(t, h.now(out).err, tt.status, string(tt.failure.Reason))
				if e.Told != tt.failure.Told {
					t.Errorf("told = %v, want %v", e.Told, tt.failure.Told)
				}
				if !bytes.Equal(e.Body, tt.failure.Body) {
					t.Errorf("body is %q, want the engine's own", e.Body)
				}
				if tt.failure.Reason == wire.NoHandle && !strings.Contains(e.Message, "kv-transfer-config") {
					t.Errorf("message is %q, which does not tell the operator what to check", e.Message)
				}
				if n := len(h.queue.all()); n != 1 {
					t.Errorf("%d jobs, want 1", n)
				}
				h.over(map[string]int{"failed": 1})
			})
		})
	}
}

func TestAnswerThatBreaksOffIsNotTriedAgain(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
		res := h.now(out)
		d.send(wire.Data, "b").fail(wire.Failure{Reason: wire.EngineDown, Message: "broken pipe"})
		got, err := rest(res.answer)
		if !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("answer is %q, want all that came", got)
		}
		wantError(t, err, 503, "engine_down")
		res.answer.Close()
		time.Sleep(time.Minute)
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		h.over(map[string]int{"failed": 1})
	})
}

func TestWorkerThatDies(t *testing.T) {
	for name, run := range map[string]func(h *rig){
		"while prefilling":      func(h *rig) { h.run("w", 1, h.job()).send(wire.Prefilling, splitly) },
		"while decoding":        func(h *rig) { h.run("w", 1, h.job()).send(wire.Decoding, splitly) },
		"while doing it wholly": func(h *rig) { h.run("w", 1, h.job()).send(wire.Decoding, wholly) },
		"before it gets a handle": func(h *rig) {
			h.run("p", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, handed(wire.HandedInfo{DecodeWorker: "w"}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				run(h)
				h.fleet.onGone("another")
				h.fleet.onGone("w")
				h.againOnce(t, out)
				if got := h.queue.gone(); !slices.Equal(got, []uint64{1}) {
					t.Errorf("removed jobs %v, want the dead worker's", got)
				}
			})
		})
	}
}

// againOnce checks that there is a second attempt, and lets it end well.
func (h *rig) againOnce(t *testing.T, out chan result) {
	t.Helper()
	time.Sleep(2 * time.Second)
	h.waits(out)
	if n := len(h.queue.all()); n != 2 || h.job().Attempt != 2 {
		t.Fatalf("%d jobs, the last with attempt %d; want 2 and 2", n, h.job().Attempt)
	}
	h.run("d", 1, h.job()).send(wire.Decoding, splitly).send(wire.Data, "a").send(wire.End, "")
	h.now(out).answer.Close()
	h.over(map[string]int{"done": 1})
}

// The death of the decode worker was told while the prompt was still being prefilled: nobody tells it
// again.
func TestHandleForAWorkerThatIsDeadAlready(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		p := h.run("p", 1, h.job()).send(wire.Prefilling, splitly)
		h.fleet.dead = []string{"w"}
		h.fleet.onGone("w")
		p.send(wire.Handed, handed(wire.HandedInfo{DecodeWorker: "w"}))
		h.againOnce(t, out)
	})
}

func TestHandleThatNobodyTakesWithinItsLease(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		h.run("p", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, handed(wire.HandedInfo{DecodeWorker: "d", Lease: 30 * time.Second}))
		time.Sleep(30 * time.Second)
		h.waits(out)
		if n := len(h.queue.all()); n != 1 {
			t.Fatalf("%d jobs within the lease, want 1", n)
		}
		time.Sleep(2 * time.Second)
		h.againOnce(t, out)
	})
}

func TestHandleThatIsTakenOutlivesItsLease(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		h.run("p", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, handed(wire.HandedInfo{DecodeWorker: "d", Lease: 30 * time.Second}))
		d := h.run("d", 1, h.job()).send(wire.Decoding, splitly)
		time.Sleep(10 * time.Minute)
		d.send(wire.Data, "a").send(wire.End, "")
		h.now(out).answer.Close()
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		h.over(map[string]int{"done": 1})
	})
}
