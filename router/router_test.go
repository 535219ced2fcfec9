package router_test

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

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
				p.send(wire.Handed, handed(wire.HandedInfo{Prefill: 1500 * time.Millisecond, PromptTokens: 7, CachedTokens: 3}))
				time.Sleep(time.Second)
				d := h.run("d1", 1, &job.Request).send(wire.Decoding, splitly)
				h.waits(out)
				d.send(wire.Data, "a")
				synctest.Wait()
				if begun := len(out) == 1; begun != streaming {
					t.Errorf("the answer began with its first piece: %v, want it only of a stream", begun)
				}
				d.send(wire.Data, "b").send(wire.End, finish(wire.EndInfo{CompletionTokens: 2}))
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
		p.send(wire.Prefilling, "").send(wire.Handed, handed(wire.HandedInfo{PromptTokens: 7}))
		d.send(wire.End, "")
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
		second.send(wire.Data, "a").send(wire.End, "")
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
					last.send(wire.Handed, handed(wire.HandedInfo{DecodeWorker: "d9"}))
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
				d.send(wire.End, "")
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
				h.run("w2", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "a").send(wire.End, "")
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
		first.send(wire.Data, "right").send(wire.End, "")
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
		second.send(wire.Handed, "")
		third := h.run("p3", 1, h.job()).send(wire.Prefilling, "")
		if second.cancelled() || !third.cancelled() {
			t.Error("want a prefill after the handle to be cancelled, and not the one that made it")
		}
		h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "")
		res := h.now(out)
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

func TestMoreTellsWhatIsThere(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, "a").send(wire.Data, "b")
		answer := h.now(out).answer
		defer answer.Close()
		for _, want := range []string{"a", "b"} {
			if !answer.More() {
				t.Errorf("More is false before %q", want)
			}
			if _, early := h.recv.consumed[d.id]; early && want == "a" {
				t.Error("pieces count as consumed before they are read")
			}
			if got, err := answer.Next(t.Context()); string(got) != want || err != nil {
				t.Errorf("Next = %q, %v, want %q", got, err, want)
			}
		}
		if answer.More() {
			t.Error("More is true while the worker is silent")
		}
		d.send(wire.End, "")
		if !answer.More() {
			t.Error("More is false at the end, which Next tells at once")
		}
		if _, err := answer.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("Next after the last piece = %v", err)
		}
	})
}
