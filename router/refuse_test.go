package router_test

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// refuse says that a dispatcher has dropped jobs.
func (h *rig) refuse(refusals ...wire.Refusal) {
	h.t.Helper()
	data, err := json.Marshal(refusals)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	h.r.Refused(data)
	synctest.Wait()
}

func late(job *wire.Request) wire.Refusal {
	return wire.Refusal{Stream: job.Stream, Attempt: job.Attempt, Reason: wire.TooLate, RetryAfter: 7 * time.Second}
}

func TestRefusedRequestEndsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*wire.Refusal)
		status int
		code   string
		again  time.Duration
	}{
		"too late":                     {func(*wire.Refusal) {}, 429, "too_late", 7 * time.Second},
		"too late, nobody knows until": {func(r *wire.Refusal) { r.RetryAfter = 0 }, 429, "too_late", time.Minute}, // nothing was ever done here
		"deadline":                     {func(r *wire.Refusal) { r.Reason, r.RetryAfter = wire.DeadlineOver, 0 }, 504, "deadline", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				refusal := late(h.job())
				c.change(&refusal)
				h.refuse(wire.Refusal{Stream: 1, Attempt: 1, Reason: wire.TooLate}, refusal) // one is of nobody
				e := wantError(t, h.now(out).err, c.status, c.code)
				if e.RetryAfter != c.again {
					t.Errorf("may come again after %v, want %v", e.RetryAfter, c.again)
				}
				h.over(map[string]int{"failed": 1})
				if n := len(h.queue.gone()) + len(h.queue.givenUp()); n != 0 {
					t.Errorf("%d attempts to remove a job that the dispatcher has dropped", n)
				}
				h.refuse(refusal)
				h.over(map[string]int{"failed": 1})
			})
		})
	}
}

// A worker that stops hands a job back without a word to the frontend. When the dispatcher then drops
// it, nobody has the request.
func TestRefusedAfterAWorkerHandedItBack(t *testing.T) {
	for name, begin := range map[string]func(h *rig) *run{
		"prefill": func(h *rig) *run { return h.run("p1", 1, h.job()).send(wire.Prefilling, splitly) },
		"whole":   func(h *rig) *run { return h.run("d1", 1, h.job()).send(wire.Decoding, wholly) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				run := begin(h)
				h.refuse(late(h.job()))
				wantError(t, h.now(out).err, 429, "too_late")
				if !run.cancelled() {
					t.Error("the run goes on")
				}
				h.over(map[string]int{"failed": 1})
			})
		})
	}
}

// A refusal of a job that was delivered twice does not end a request that somebody carries on.
func TestRefusalOfARequestThatIsBeyondTheQueue(t *testing.T) {
	for name, begin := range map[string]func(h *rig){
		"handed":   func(h *rig) { h.run("p1", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, "") },
		"decoding": func(h *rig) { h.run("d1", 1, h.job()).send(wire.Decoding, splitly) },
		"begun":    func(h *rig) { h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "a") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				begin(h)
				h.refuse(late(h.job()))
				if name != "begun" {
					h.waits(out)
					h.run("d1", 1, h.job()).send(wire.Decoding, splitly).send(wire.Data, "a").send(wire.End, "")
				} else {
					r := h.run("d1", 1, h.job())
					r.next = 2
					r.send(wire.End, "")
				}
				res := h.now(out)
				if res.err != nil {
					t.Fatal(res.err)
				}
				if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"a"}) {
					t.Errorf("answer is %q, %v", got, err)
				}
				res.answer.Close()
				h.over(map[string]int{"done": 1})
			})
		})
	}
}

func TestRefusalOfAnotherAttemptIsFencedOff(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		first := *h.job()
		h.run("p1", 1, &first).send(wire.Prefilling, splitly).fail(wire.Failure{Reason: wire.EngineDown})
		h.refuse(late(&first)) // before the second attempt is published
		time.Sleep(time.Second)
		h.refuse(late(&first))
		h.waits(out)
		if second := h.job(); second.Attempt != 2 {
			t.Fatalf("attempt %d, want 2", second.Attempt)
		}
		h.refuse(late(h.job()))
		wantError(t, h.now(out).err, 429, "too_late")
		h.over(map[string]int{"failed": 1})
	})
}

func TestRefusalThatNobodyUnderstands(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		h.r.Refused([]byte(`{"stream":`))
		h.waits(out)
		h.refuse(late(h.job()))
		wantError(t, h.now(out).err, 429, "too_late")
	})
}
