package router_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestAnswerComesPieceByPiece(t *testing.T) {
	for name, streaming := range map[string]bool{"stream": true, "unary": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				req := request()
				req.Streaming = streaming
				out := h.do(t.Context(), req)
				job := h.queue.all()[0]
				if string(job.Body) != string(req.Body) || job.Digest != wire.BodyDigest(req.Body) || job.Attempt != 1 || job.Streaming != streaming {
					t.Errorf("job is %+v", job)
				}
				time.Sleep(time.Second)
				p := h.run("p1", 1, &job.Request).send(wire.Prefilling, splitly)
				time.Sleep(2 * time.Second)
				p.send(wire.Handed, `{"prefill_ns":1500000000,"prompt_tokens":7,"cached_tokens":3}`)
				time.Sleep(time.Second)
				d := h.run("d1", 1, &job.Request).send(wire.Decoding, splitly)
				h.waits(out)
				d.send(wire.Data, "a")
				synctest.Wait()
				if begun := len(out) == 1; begun != streaming {
					t.Errorf("the answer began with its first piece: %v, want it only of a stream", begun)
				}
				d.send(wire.Data, "b").send(wire.End, `{"completion_tokens":2}`)
				res := h.now(out)
				if res.err != nil {
					t.Fatal(res.err)
				}
				defer res.answer.Close()
				got, err := rest(res.answer)
				if err != nil || !slices.Equal(got, []string{"a", "b"}) {
					t.Errorf("answer is %q, %v", got, err)
				}
				if h.recv.consumed[d.id] != 2 {
					t.Errorf("consumed up to frame %d, want 2", h.recv.consumed[d.id])
				}
				want := router.Timing{
					Queue: time.Second, Prefill: 1500 * time.Millisecond, Handover: time.Second, FirstToken: 4 * time.Second,
					PrefillWorker: "p1", DecodeWorker: "d1", Attempts: 1, PromptTokens: 7, CachedTokens: 3,
					Place: "split", Why: "split", Dispatch: 500 * time.Millisecond,
				}
				if got := res.answer.Timing(); got != want {
					t.Errorf("timing is %+v, want %+v", got, want)
				}
				if n := res.answer.Usage().CompletionTokens; n != 2 {
					t.Errorf("completion tokens = %d, want 2", n)
				}
				res.answer.Close()
				h.over(map[string]int{"done": 1})
				if p.cancelled() || d.cancelled() {
					t.Error("a finished run was cancelled")
				}
			})
		})
	}
}

func TestFramesOfTwoWorkersMayComeInAnyOrder(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		p, d := h.run("p1", 1, h.job()), h.run("d1", 1, h.job())
		d.send(wire.Decoding, "").send(wire.Data, "a")
		p.send(wire.Prefilling, "").send(wire.Handed, `{"prompt_tokens":7}`)
		d.send(wire.End, "{}")
		res := h.now(out)
		if got, err := rest(res.answer); err != nil || len(got) != 1 {
			t.Errorf("answer is %q, %v", got, err)
		}
		if p.cancelled() || d.cancelled() {
			t.Error("a run was cancelled")
		}
		if got := res.answer.Timing(); got.PrefillWorker != "p1" || got.PromptTokens != 7 {
			t.Errorf("timing is %+v", got)
		}
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

func TestWholeRequest(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		req := request()
		req.Whole, req.Prefix = true, []uint64{1, 2}
		out := h.do(t.Context(), req)
		jobs := h.queue.all()
		if len(jobs) != 1 || !jobs[0].Whole || !slices.Equal(jobs[0].Prefix, req.Prefix) || string(jobs[0].Body) != string(req.Body) {
			t.Fatalf("jobs are %+v", jobs)
		}
		stray := h.run("p1", 1, h.job()).send(wire.Prefilling, splitly)
		if !stray.cancelled() {
			t.Error("a prefill of a request that must not be split goes on")
		}
		// A worker that stops hands such a job back; the next one takes it.
		first := h.run("d1", 1, h.job()).send(wire.Decoding, wholly)
		second := h.run("d2", 1, h.job()).send(wire.Decoding, wholly)
		if !first.cancelled() || second.cancelled() {
			t.Errorf("cancelled: first %v, second %v; want the second to go on", first.cancelled(), second.cancelled())
		}
		first.send(wire.Data, "x")
		second.send(wire.Data, "a").send(wire.End, "{}")
		res := h.now(out)
		if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"a"}) {
			t.Errorf("answer is %q, %v", got, err)
		}
		if got := res.answer.Timing(); !got.Whole || got.Place != "whole" || got.Why != "lend" || got.Dispatch != 500*time.Millisecond {
			t.Errorf("timing is %+v", got)
		}
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

// The job of a request that can be split comes again when its worker stops, and may then be placed
// otherwise.
func TestPlacementMayChangeBeforeTheAnswerBegins(t *testing.T) {
	type step struct {
		worker string
		kind   wire.Kind
		place  string
	}
	whole := func(w string) step { return step{w, wire.Decoding, wholly} }
	split := func(w string) step { return step{w, wire.Prefilling, splitly} }
	for name, before := range map[string][]step{
		"whole, split":               {whole("w1"), split("p9")},
		"split, whole, split":        {split("p1"), whole("w1"), split("p9")},
		"whole, whole, split":        {whole("w1"), whole("w2"), split("p9")},
		"whole, split out of order":  {whole("w1")},
		"split, whole, out of order": {split("p1"), whole("w1")},
	} {
		t.Run(name+", decode", func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				var runs []*run
				for _, s := range before {
					runs = append(runs, h.run(s.worker, 1, h.job()).send(s.kind, s.place))
				}
				last := runs[len(runs)-1]
				d := h.run("d9", 1, h.job())
				if last.id.Worker == "p9" {
					last.send(wire.Handed, `{"decode_worker":"d9"}`)
				}
				d.send(wire.Decoding, splitly).send(wire.Data, "good")
				for _, r := range runs {
					if r.id.Worker[0] == 'w' && !r.cancelled() {
						t.Errorf("the run of %s, which gave the job back, is not cancelled", r.id.Worker)
					}
					if r.id.Worker != "p9" {
						r.send(wire.Data, "bad")
					}
				}
				if last.id.Worker == "p9" && last.cancelled() || d.cancelled() {
					t.Error("the runs that go on were cancelled")
				}
				late := h.run("w9", 1, h.job()).send(wire.Decoding, wholly)
				if !late.cancelled() {
					t.Error("a run after the first byte was not cancelled")
				}
				d.send(wire.End, "{}")
				res := h.now(out)
				if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"good"}) {
					t.Errorf("answer is %q, %v", got, err)
				}
				if got := res.answer.Timing(); got.Whole || got.Place != "split" || got.DecodeWorker != "d9" || got.Attempts != 1 {
					t.Errorf("timing is %+v", got)
				}
				res.answer.Close()
				h.over(map[string]int{"done": 1})
			})
		})
	}
}

// A handle that is out when its request turns out to run whole still needs the body to be released.
func TestBodyIsKeptForAHandleOfAnEarlierPlacement(t *testing.T) {
	for name, first := range map[string]struct {
		send  func(h *rig)
		wants bool
	}{
		"split before": {func(h *rig) { h.run("p1", 1, h.job()).send(wire.Prefilling, splitly) }, true},
		"whole before": {func(h *rig) { h.run("w1", 1, h.job()).send(wire.Decoding, wholly) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				first.send(h)
				h.run("w2", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "a").send(wire.End, "{}")
				h.now(out).answer.Close()
				h.over(map[string]int{"done": 1})
				_, err := h.r.Body([]byte(`{"stream":` + itoa(h.job().Stream) + `}`))
				if (err == nil) != first.wants {
					t.Errorf("Body = %v, want it to be there: %v", err, first.wants)
				}
			})
		})
	}
}

func TestSecondDecodeRunOfAHandleIsCancelled(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		first := h.run("d1", 1, h.job()).send(wire.Decoding, "")
		second := h.run("d2", 9, h.job()).send(wire.Decoding, "").send(wire.Data, "wrong").fail(wire.Failure{Reason: wire.HandleUsed})
		if first.cancelled() || !second.cancelled() {
			t.Errorf("cancelled: first %v, second %v; want only the second", first.cancelled(), second.cancelled())
		}
		first.send(wire.Data, "right").send(wire.End, "{}")
		res := h.now(out)
		if got, err := rest(res.answer); err != nil || !slices.Equal(got, []string{"right"}) {
			t.Errorf("answer is %q, %v", got, err)
		}
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

func TestRedeliveredPrefillTakesOver(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		first := h.run("p1", 1, h.job()).send(wire.Prefilling, "")
		second := h.run("p2", 1, h.job()).send(wire.Prefilling, "")
		first.fail(wire.Failure{Reason: wire.EngineRejected, Message: "too late to matter"})
		h.waits(out)
		second.send(wire.Handed, "{}")
		third := h.run("p3", 1, h.job()).send(wire.Prefilling, "")
		if second.cancelled() || !third.cancelled() {
			t.Error("want a prefill after the handle to be cancelled, and not the one that made it")
		}
		h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "{}")
		res := h.now(out)
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

func TestFailureBeforeTheAnswerIsTriedAgain(t *testing.T) {
	for _, reason := range []wire.Reason{wire.EngineDown, wire.EngineError, wire.EngineTimeout, wire.HandleExpired, wire.HandleUsed, wire.WorkerStopping} {
		t.Run(string(reason), func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				old := h.run("p1", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "{}")
				dead := h.run("d1", 1, h.job()).send(wire.Decoding, "").fail(wire.Failure{Reason: reason, Message: "no"})
				time.Sleep(2 * time.Second)
				h.waits(out)
				if n := len(h.queue.all()); n != 2 || h.job().Attempt != 2 {
					t.Fatalf("%d jobs, the last with attempt %d; want 2 and 2", n, h.job().Attempt)
				}
				// What still comes of the first attempt never reaches the client.
				dead.send(wire.Data, "late")
				late := h.run("d3", 1, &old.job).send(wire.Decoding, "").send(wire.Data, "late").send(wire.End, "{}")
				if !late.cancelled() {
					t.Error("a run of an old attempt was not cancelled")
				}
				h.run("p2", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "{}")
				h.run("d2", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "good").send(wire.End, "{}")
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
		{wire.Failure{Reason: wire.BodyGone}, 502},
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
			h.run("p", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, `{"decode_worker":"w"}`)
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
	h.run("d", 1, h.job()).send(wire.Decoding, splitly).send(wire.Data, "a").send(wire.End, "{}")
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
		p.send(wire.Handed, `{"decode_worker":"w"}`)
		h.againOnce(t, out)
	})
}

func TestHandleThatNobodyTakesWithinItsLease(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		h.run("p", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, `{"decode_worker":"d","lease_ns":30000000000}`)
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
		h.run("p", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, `{"decode_worker":"d","lease_ns":30000000000}`)
		d := h.run("d", 1, h.job()).send(wire.Decoding, splitly)
		time.Sleep(10 * time.Minute)
		d.send(wire.Data, "a").send(wire.End, "{}")
		h.now(out).answer.Close()
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		h.over(map[string]int{"done": 1})
	})
}

func TestClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		state   string
		run     func(h *rig) *run // nil: none
		removes bool
		cancels bool
		lingers bool
	}{
		{"queued", nil, true, false, false},
		{"prefilling", func(h *rig) *run { return h.run("p1", 1, h.job()).send(wire.Prefilling, "") }, false, true, true},
		{"handed", func(h *rig) *run { return h.run("p1", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "{}") }, false, false, true},
		{"decoding", func(h *rig) *run { return h.run("d1", 1, h.job()).send(wire.Decoding, "") }, false, true, true},
	} {
		t.Run(tt.state, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				ctx, cancel := context.WithCancelCause(t.Context())
				left := errors.New("client left")
				out := h.do(ctx, request())
				var r *run
				if tt.run != nil {
					r = tt.run(h)
				}
				if got := h.r.Requests(); len(got) != 1 || got[0].State.String() != tt.state {
					t.Fatalf("in flight is %+v, want one that is %s", got, tt.state)
				}
				cancel(left)
				if err := h.now(out).err; !errors.Is(err, left) {
					t.Errorf("Do = %v, want the cause", err)
				}
				h.over(map[string]int{"cancelled": 1})
				if got := len(h.queue.gone()) == 1; got != tt.removes {
					t.Errorf("job removed = %v, want %v", got, tt.removes)
				}
				var told []string // the dispatcher that may hold the job
				if tt.removes {
					told = []string{"m " + h.job().MsgID()}
				}
				if got := h.queue.givenUp(); !slices.Equal(got, told) {
					t.Errorf("dispatchers were told of %v, want %v", got, told)
				}
				if r != nil && r.cancelled() != tt.cancels {
					t.Errorf("run cancelled = %v, want %v", r.cancelled(), tt.cancels)
				}
				if r != nil {
					late := h.run("d9", 1, &r.job).send(wire.Decoding, "")
					if !late.cancelled() {
						t.Error("a later run was not cancelled")
					}
				}
				// A decode worker needs the body to release the handle.
				_, err := h.r.Body([]byte(`{"stream":` + itoa(h.job().Stream) + `}`))
				if (err == nil) != tt.lingers {
					t.Errorf("Body = %v, want it to be there: %v", err, tt.lingers)
				}
				time.Sleep(time.Minute)
				if _, err := h.r.Body([]byte(`{"stream":` + itoa(h.job().Stream) + `}`)); err == nil {
					t.Error("the body is kept for ever")
				}
			})
		})
	}
}

func TestClientLeavesWhileTheJobIsPublished(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		h.queue.slow = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		out := h.do(ctx, request())
		cancel()
		if err := h.now(out).err; !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

func TestClientLeavesBetweenTwoAttempts(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		out := h.do(ctx, request())
		h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(wire.Failure{Reason: wire.EngineDown})
		cancel()
		if err := h.now(out).err; !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		time.Sleep(time.Minute)
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

func TestClosingEarlyCancels(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
		res := h.now(out)
		res.answer.Close()
		res.answer.Close()
		if !d.cancelled() {
			t.Error("the run goes on")
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

func TestEndedWaitIsNotTheEndOfTheAnswer(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
		a := h.now(out).answer
		defer a.Close()
		if p, err := a.Next(t.Context()); string(p) != "a" || err != nil {
			t.Fatalf("Next = %q, %v", p, err)
		}
		wait, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Next(wait); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next = %v, want the end of its context", err)
		}
		d.send(wire.Data, "b").send(wire.End, "{}")
		if got, err := rest(a); err != nil || !slices.Equal(got, []string{"b"}) {
			t.Errorf("rest is %q, %v", got, err)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			req := request()
			req.Deadline = time.Now().Add(10 * time.Second)
			out := h.do(t.Context(), req)
			time.Sleep(10*time.Second - 1)
			h.waits(out)
			time.Sleep(time.Nanosecond)
			wantError(t, h.now(out).err, 504, "deadline")
			if len(h.queue.gone()) != 1 {
				t.Error("the job is still queued")
			}
			h.over(map[string]int{"failed": 1})
		})
	})
	t.Run("within the answer", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			req := request()
			req.Deadline = time.Now().Add(10 * time.Second)
			out := h.do(t.Context(), req)
			d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
			a := h.now(out).answer
			got, err := rest(a)
			if len(got) != 1 {
				t.Errorf("answer is %q", got)
			}
			wantError(t, err, 504, "deadline")
			if !d.cancelled() {
				t.Error("the run goes on")
			}
			a.Close()
			h.over(map[string]int{"failed": 1})
		})
	})
}

func TestModelsThatNobodyServes(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		req := request()
		req.Model = "other"
		e := wantError(t, h.now(h.do(t.Context(), req)).err, 404, "model_not_found")
		if e.Message != "The model `other` does not exist." || e.Param != "model" || e.Type != "NotFoundError" {
			t.Errorf("error is %+v", e)
		}
		h.fleet.models, h.fleet.missing = nil, []string{"no worker has announced itself"}
		e = wantError(t, h.now(h.do(t.Context(), req)).err, 503, "no_worker")
		if e.RetryAfter <= 0 || !strings.Contains(e.Message, "no worker has announced itself") {
			t.Errorf("error is %+v", e)
		}
		h.over(map[string]int{})
	})
}

func TestLargeBodyIsStoredOnceAndDeleted(t *testing.T) {
	for name, refuse := range map[string]func(*wire.PrefillJob) error{
		"by configuration": nil,
		"by the server": func(j *wire.PrefillJob) error {
			if j.BodyRef == "" {
				return bus.ErrTooLarge
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := router.DefaultConfig()
			if refuse == nil {
				cfg.StoreBody = 4
			}
			bubble(t, cfg, func(t *testing.T, h *rig) {
				h.queue.refuse = refuse
				out := h.do(t.Context(), request())
				h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(wire.Failure{Reason: wire.EngineDown})
				time.Sleep(2 * time.Second)
				synctest.Wait()
				for _, j := range h.queue.all() {
					if j.BodyRef != "ref-1" || j.Body != nil {
						t.Errorf("job has reference %q and %d bytes", j.BodyRef, len(j.Body))
					}
				}
				h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "{}")
				h.now(out).answer.Close()
				h.over(map[string]int{"done": 1})
				time.Sleep(time.Minute)
				synctest.Wait()
				if h.bucket.size() != 0 || h.bucket.puts != 1 {
					t.Errorf("%d bodies are stored of %d, want 0 of 1", h.bucket.size(), h.bucket.puts)
				}
			})
		})
	}
}

func TestWhereBodiesTravel(t *testing.T) {
	for name, tt := range map[string]struct {
		size           int
		inline, stored bool
	}{
		"small":                           {4 << 10, true, false},
		"larger":                          {4<<10 + 1, false, false},
		"the most that one message holds": {512 << 10, false, false},
		"more than that":                  {512<<10 + 1, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				ctx, cancel := context.WithCancel(t.Context())
				req := request()
				req.Body = bytes.Repeat([]byte("x"), tt.size)
				out := h.do(ctx, req)
				job := h.queue.all()[0]
				if got := len(job.Body) > 0; got != tt.inline {
					t.Errorf("the body travels in the job: %v, want %v", got, tt.inline)
				}
				if got := job.BodyRef != ""; got != tt.stored || (h.bucket.size() > 0) != tt.stored {
					t.Errorf("the body is stored: %v, want %v", got, tt.stored)
				}
				if job.BodySize != tt.size || job.Digest != wire.BodyDigest(req.Body) {
					t.Errorf("job is %+v", job)
				}
				// Who runs it may ask here in any case.
				if body, err := h.r.Body([]byte(`{"stream":` + itoa(job.Stream) + `}`)); err != nil || !bytes.Equal(body, req.Body) {
					t.Errorf("Body = %d bytes, %v", len(body), err)
				}
				cancel()
				<-out
			})
		})
	}
}

func TestQueueThatRefuses(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			h.queue.refuse = func(*wire.PrefillJob) error { return bus.ErrFull }
			e := wantError(t, h.now(h.do(t.Context(), request())).err, 429, "rate_limit_exceeded")
			if e.RetryAfter < time.Second {
				t.Errorf("RetryAfter = %v", e.RetryAfter)
			}
			h.over(map[string]int{"failed": 1})
		})
	})
	t.Run("for a moment", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			down := time.Now().Add(5 * time.Second)
			h.queue.refuse = func(*wire.PrefillJob) error {
				if time.Now().Before(down) {
					return errors.New("no responders")
				}
				return nil
			}
			out := h.do(t.Context(), request())
			time.Sleep(7 * time.Second)
			h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "{}")
			h.now(out).answer.Close()
			h.over(map[string]int{"done": 1})
		})
	})
	t.Run("for long", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			h.queue.refuse = func(*wire.PrefillJob) error { return errors.New("no responders") }
			out := h.do(t.Context(), request())
			time.Sleep(20 * time.Second)
			if e := wantError(t, h.now(out).err, 503, "queue_unreachable"); strings.Contains(e.Message, "responders") {
				t.Errorf("the client is told what the server's library says: %s", e.Message)
			}
			h.over(map[string]int{"failed": 1})
		})
	})
}

func TestDrainWaitsForAnswers(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		if err := h.r.Drain(t.Context()); err != nil {
			t.Errorf("Drain of nothing = %v", err)
		}
		out := h.do(t.Context(), request())
		h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "{}")
		a := h.now(out).answer
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.r.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain = %v, want it to wait for the answer", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- h.r.Drain(t.Context()) }()
		synctest.Wait()
		a.Close()
		if err := <-drained; err != nil {
			t.Errorf("Drain = %v", err)
		}
	})
}

func TestStoppedRouterEndsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRig(t, router.DefaultConfig())
		out := h.do(t.Context(), request())
		h.end()
		wantError(t, h.now(out).err, 503, "shutting_down")
		wantError(t, h.now(h.do(t.Context(), request())).err, 503, "shutting_down")
		h.over(map[string]int{"failed": 2})
	})
}
