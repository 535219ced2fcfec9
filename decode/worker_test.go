package decode_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/google/go-cmp/cmp"
)

func TestAnswerIsPassedOnAsTheEngineSentIt(t *testing.T) {
	for name, where := range map[string]func(*bench, *wire.DecodeJob){
		"inline body":       func(*bench, *wire.DecodeJob) {},
		"body at reference": func(b *bench, j *wire.DecodeJob) { b.bodies["x"], j.Body, j.BodyRef = j.Body, nil, "x" },
		"body at frontend":  func(b *bench, j *wire.DecodeJob) { b.bodies[wire.BodySubject("f")], j.Body = j.Body, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				where(b, &j)
				b.queue.Put(j, 1)
				stop := b.start(t)
				after(time.Second)
				stop()
				frames := b.frames.Of("r1")
				if got := kinds(frames); got != "decoding data data data end" {
					t.Fatalf("frames = %s", got)
				}
				if got := string(frames[1].Payload); got != "data: {\"a\":1}\n\n" {
					t.Errorf("first payload = %s", got)
				}
				if got, want := last(frames), (wire.EndInfo{PromptTokens: 7, CompletionTokens: 2, CachedTokens: 3}); got != want {
					t.Errorf("end = %+v", got)
				}
				if d := cmp.Diff([]string{consumed}, b.notes()); d != "" {
					t.Error(d)
				}
				if _, done, _ := b.queue.Counts(); done != 1 {
					t.Errorf("%d deliveries done, want 1", done)
				}
			})
		})
	}
}

func TestEveryFailureIsToldAndDone(t *testing.T) {
	for name, tc := range map[string]struct {
		change     func(*bench, *wire.DecodeJob)
		deliveries int
		want       wire.Reason
		calls      int
		notes      []string
	}{
		"handle came before":              {func(*bench, *wire.DecodeJob) {}, 2, wire.HandleUsed, 0, nil},
		"lease nearly over":               {func(_ *bench, j *wire.DecodeJob) { j.Handle.Expires = time.Now().Add(900 * time.Millisecond) }, 1, wire.HandleExpired, 0, nil},
		"frozen until the lease was over": {func(b *bench, _ *wire.DecodeJob) { b.engine.late, b.engine.silent = 30*time.Second, 2*time.Second }, 1, wire.HandleExpired, 1, nil},
		"other digest":                    {func(_ *bench, j *wire.DecodeJob) { j.Handle.Digest = "other" }, 1, wire.HandleMismatch, 0, nil},
		"other body":                      {func(_ *bench, j *wire.DecodeJob) { j.Body = []byte("{}") }, 1, wire.HandleMismatch, 0, nil},
		"body gone":                       {func(_ *bench, j *wire.DecodeJob) { j.Body = nil }, 1, wire.BodyGone, 0, nil},
		"engine refuses":                  {func(b *bench, _ *wire.DecodeJob) { b.engine.err = &engine.StatusError{Status: 400} }, 1, wire.EngineRejected, 0, nil},
		"engine fails":                    {func(b *bench, _ *wire.DecodeJob) { b.engine.err = &engine.StatusError{Status: 500} }, 1, wire.EngineError, 0, nil},
		"answer is no JSON":               {func(b *bench, j *wire.DecodeJob) { j.Streaming, b.engine.answer = false, []byte("<html>") }, 1, wire.EngineError, 1, nil},
		"refusal first":                   {func(b *bench, _ *wire.DecodeJob) { b.engine.events = []string{`{"error":{"code":400}}`} }, 1, wire.EngineRejected, 1, nil},
		"unreadable params":               {func(b *bench, _ *wire.DecodeJob) { b.engine.events[0] = `{"a":1,"a":2,"kv_transfer_params":{}}` }, 1, wire.EngineError, 1, nil},
		"error event first":               {func(b *bench, _ *wire.DecodeJob) { b.engine.events = []string{`{"error":{}}`} }, 1, wire.EngineError, 1, nil},
		"error event later":               {func(b *bench, _ *wire.DecodeJob) { b.engine.events[1] = `{"error":{}}` }, 1, wire.EngineError, 1, []string{consumed}},
		"stream breaks":                   {func(b *bench, _ *wire.DecodeJob) { b.engine.end = errors.New("reset by peer") }, 1, wire.EngineDown, 1, []string{consumed}},
		"deadline midway":                 {func(_ *bench, j *wire.DecodeJob) { j.Deadline = time.Now().Add(150 * time.Millisecond) }, 1, wire.DeadlineOver, 1, []string{consumed}},
		"deadline before":                 {func(_ *bench, j *wire.DecodeJob) { j.Deadline = time.Now().Add(-time.Second) }, 1, wire.DeadlineOver, 1, []string{released}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				tc.change(b, &j)
				b.queue.Put(j, tc.deliveries)
				stop := b.start(t)
				after(time.Minute)
				stop()
				if got := b.frames.Reason("r1"); got != tc.want {
					t.Errorf("reason = %q, want %q", got, tc.want)
				}
				if _, done, retried := b.queue.Counts(); done != 1 || retried != 0 {
					t.Errorf("%d done, %d handed back, want 1 and 0", done, retried)
				}
				if calls, running, _ := b.engine.counts(); calls != tc.calls || running != 0 {
					t.Errorf("%d engine calls, %d left open, want %d and 0", calls, running, tc.calls)
				}
				if d := cmp.Diff(tc.notes, b.notes()); d != "" {
					t.Error(d)
				}
				if got := b.reports.Stages("f.1.1"); got != "decoding ended" {
					t.Errorf("the dispatchers hear %q", got)
				}
			})
		})
	}
}

// An engine renews the lease while a request waits for its turn: a late answer is right unless the engine was frozen.
func TestLateAnswerOfALiveEngineIsPassedOn(t *testing.T) {
	for name, silent := range map[string]time.Duration{"late": 0, "late, and its process was slow": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.engine.late, b.engine.silent = 40*time.Second, silent
				b.queue.Put(job(1), 1)
				stop := b.start(t)
				after(time.Minute)
				stop()
				if got := b.frames.Reason("r1"); got != "" {
					t.Errorf("the job failed: %s", got)
				}
				if d := cmp.Diff([]string{consumed}, b.notes()); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestDispatchersHearOfEachStage(t *testing.T) {
	began := wire.JobReport{Key: "f.1.1", Stage: wire.StagePrefilling, Tokens: 100, KV: 200}
	decoding := wire.JobReport{Key: "f.1.1", Stage: wire.StageDecoding, Tokens: 100, KV: 200}
	ended := wire.JobReport{Key: "f.1.1", Stage: wire.StageEnded, Tokens: 7, Cached: 3} // as the engine counted
	broken := wire.JobReport{Key: "f.1.1", Stage: wire.StageEnded}
	whole := func(j *wire.DecodeJob) { j.Whole, j.Handle = true, nil }
	for name, tc := range map[string]struct {
		change func(b *bench, j *wire.DecodeJob)
		want   []wire.JobReport
	}{
		"handle": {func(*bench, *wire.DecodeJob) {}, []wire.JobReport{decoding, ended}},
		"handle with the engine's count": {
			func(_ *bench, j *wire.DecodeJob) { j.Handle.PromptTokens, j.Handle.CachedTokens = 120, 16 },
			[]wire.JobReport{{Key: "f.1.1", Stage: wire.StageDecoding, Tokens: 120, Cached: 16, KV: 220}, ended},
		},
		"whole": {func(_ *bench, j *wire.DecodeJob) { whole(j) }, []wire.JobReport{began, decoding, ended}},
		"whole of unknown length": {
			func(b *bench, j *wire.DecodeJob) { whole(j); j.MaxTokens, b.cfg.AssumedTokens = 0, 50 },
			[]wire.JobReport{
				{Key: "f.1.1", Stage: wire.StagePrefilling, Tokens: 100, KV: 150},
				{Key: "f.1.1", Stage: wire.StageDecoding, Tokens: 100, KV: 150},
				ended,
			},
		},
		"whole that fails": {
			func(b *bench, j *wire.DecodeJob) { whole(j); b.engine.err = &engine.StatusError{Status: 500} },
			[]wire.JobReport{began, broken},
		},
		"whole that is cancelled": {
			func(b *bench, j *wire.DecodeJob) {
				whole(j)
				b.frames.OnOpen = func(_ string, cancel func()) { cancel() }
			},
			[]wire.JobReport{began, broken},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				tc.change(b, &j)
				b.queue.Put(j, 1)
				stop := b.start(t)
				after(time.Minute)
				stop()
				if d := cmp.Diff(tc.want, b.reports.Of("f.1.1")); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestGapsBetweenTokensAreReported(t *testing.T) {
	for streaming, want := range map[bool][]time.Duration{true: {gap, gap}, false: nil} {
		t.Run(fmt.Sprint("streaming ", streaming), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				j.Streaming = streaming
				b.queue.Put(j, 1)
				stop := b.start(t)
				after(time.Minute)
				stop()
				if got := b.reports.Gaps(); !slices.Equal(got, want) {
					t.Errorf("gaps of 3 events are %v, want %v", got, want)
				}
			})
		})
	}
}

// The router learns from the first frame whether the run does all of the request.
func TestRunSaysHowItWasPlaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, j := newBench(), job(1)
		j.Whole, j.Handle = true, nil
		j.Assignment = &wire.Assignment{Place: wire.PlaceWhole, Why: "lend", Dispatcher: "f2", Waited: time.Second}
		b.queue.Put(j, 1)
		stop := b.start(t)
		after(time.Minute)
		stop()
		if got, err := wire.ReadAssignment(b.frames.Of("r1")[0].Payload); err != nil || got != *j.Assignment {
			t.Errorf("decoding says %+v, %v, want the dispatcher's decision", got, err)
		}
	})
}

func TestCancelledBeforeTheEngineCallFreesTheBlocks(t *testing.T) {
	for _, streaming := range []bool{true, false} {
		t.Run(fmt.Sprint("streaming ", streaming), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				j.Streaming = streaming
				b.frames.OnOpen = func(_ string, cancel func()) { cancel() }
				b.queue.Put(j, 1)
				stop := b.start(t)
				after(5 * time.Second)
				stop()
				if calls, running, _ := b.engine.counts(); calls != 1 || running != 0 {
					t.Errorf("%d engine calls, %d left open, want 1 and 0", calls, running)
				}
				if d := cmp.Diff([]string{released}, b.notes()); d != "" {
					t.Error(d)
				}
				if _, done, _ := b.queue.Counts(); done != 1 {
					t.Errorf("%d deliveries done, want 1", done)
				}
			})
		})
	}
}

func TestCancelMidwayClosesTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.queue.Put(job(1), 1)
		stop := b.start(t)
		after(3 * gap / 2)
		b.frames.Cancel("r1")
		synctest.Wait()
		if _, running, _ := b.engine.counts(); running != 0 {
			t.Errorf("%d engine calls still open", running)
		}
		stop()
		if got := kinds(b.frames.Of("r1")); got != "decoding data" {
			t.Errorf("frames = %s", got)
		}
	})
}

func TestSlotsAndKVRoomAreRespected(t *testing.T) {
	for name, tc := range map[string]struct {
		slots, configured, learned, shared, most int
	}{
		"slots": {3, 0, 0, 0, 3}, "configured KV": {256, 500, 0, 0, 2}, "learned KV": {256, 0, 900, 0, 4},
		"request larger than KV": {256, 50, 0, 0, 1}, "shared beginnings": {256, 500, 0, 75, 4}, "more shared than there is": {256, 500, 0, 1000, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.cfg.Slots, b.cfg.KVTokens, b.capacity = tc.slots, tc.configured, tc.learned
				stop := b.start(t)
				synctest.Wait()
				for i := range 20 {
					j := job(i)
					j.Assignment = &wire.Assignment{Place: wire.PlaceSplit, Shared: tc.shared}
					b.queue.Put(j, 1)
				}
				after(time.Minute)
				stop()
				if calls, _, most := b.engine.counts(); calls != 20 || most != tc.most {
					t.Errorf("%d calls, %d at once, want 20 and %d", calls, most, tc.most)
				}
			})
		})
	}
}

// A worker that is killed comes back under another name: what is addressed to it would stay in the queue.
func TestJobWithAHandleLeavesTheQueueWhenItsWorkBegins(t *testing.T) {
	for name, tc := range map[string]struct {
		whole  bool
		midway int // jobs done while the answer is under way
	}{"split": {false, 1}, "whole": {true, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				if tc.whole {
					j.Whole, j.Handle = true, nil
				}
				b.queue.Put(j, 1)
				stop := b.start(t)
				defer stop()
				after(gap / 2)
				if _, done, _ := b.queue.Counts(); done != tc.midway {
					t.Errorf("%d jobs left the queue before the first event, want %d", done, tc.midway)
				}
				after(time.Minute)
				if _, done, _ := b.queue.Counts(); done != 1 {
					t.Errorf("%d jobs left the queue, want 1", done)
				}
			})
		})
	}
}

func TestDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		whole, unary  bool
		drain         time.Duration
		want          wire.Reason
		done, retried int
	}{
		"in time":                  {false, false, time.Minute, "", 1, 0},
		"too slow, handle read":    {false, false, 0, wire.WorkerStopping, 1, 0},
		"too slow, whole untold":   {true, true, 0, "", 0, 1},
		"too slow, whole half out": {true, false, 0, wire.WorkerStopping, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				b.cfg.DrainTimeout = tc.drain
				j.Streaming = !tc.unary
				if tc.whole {
					j.Whole, j.Handle = true, nil
				}
				b.queue.Put(j, 1)
				stop := b.start(t)
				at := 3 * gap / 2
				if tc.unary {
					at = gap / 2
				}
				after(at)
				stop()
				if got := b.frames.Reason("r1"); got != tc.want {
					t.Errorf("reason = %q, want %q", got, tc.want)
				}
				if _, done, retried := b.queue.Counts(); done != tc.done || retried != tc.retried {
					t.Errorf("%d done, %d handed back, want %d and %d", done, retried, tc.done, tc.retried)
				}
			})
		})
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := decode.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (decode.Config{}).Validate(); err == nil {
		t.Error("an empty Config is valid")
	}
}
