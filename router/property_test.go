package router_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"pgregory.net/rapid"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// step is one event of a random script. Numbers that name a job count around.
type step struct {
	event  string
	pause  time.Duration
	worker string
	job    int
	run    int
	kind   wire.Kind
	place  string // of a Prefilling or Decoding frame
	reason wire.Reason
}

func drawStep(t *rapid.T) step {
	return step{
		event: rapid.SampledFrom([]string{"frame", "frame", "frame", "serve", "serve", "serve", "serve", "serve", "pause", "gone", "leave"}).Draw(t, "event"),
		pause: time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond, worker: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "worker"),
		job: rapid.IntRange(0, 5).Draw(t, "job"), run: rapid.IntRange(0, 1).Draw(t, "run"),
		kind:   rapid.SampledFrom([]wire.Kind{wire.Prefilling, wire.Handed, wire.Decoding, wire.Decoding, wire.Data, wire.Data, wire.End, wire.Fail}).Draw(t, "kind"),
		place:  rapid.SampledFrom([]string{splitly, wholly}).Draw(t, "place"),
		reason: rapid.SampledFrom([]wire.Reason{wire.EngineDown, wire.EngineRejected, wire.HandleUsed}).Draw(t, "reason"),
	}
}

// faults collects what goes wrong inside a bubble, where rapid cannot be told.
type faults struct{ texts []string }

type stop struct{}

func (f *faults) Helper() {}

func (f *faults) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func (f *faults) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(stop{})
}

// Whatever comes in whatever order, a request ends exactly once, nothing stays in the tables, and
// the client reads the pieces of one run.
func TestEveryRequestEndsExactlyOnce(t *testing.T) {
	ends := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		whole, deadline := rapid.Bool().Draw(rt, "whole"), time.Duration(rapid.IntRange(1, 60).Draw(rt, "deadline"))*time.Second
		script := rapid.SliceOfN(rapid.Custom(drawStep), 0, 40).Draw(rt, "script")
		var f faults
		synctest.Test(t, func(*testing.T) {
			h := newRig(&f, router.DefaultConfig())
			defer h.end()
			defer func() {
				if p := recover(); p != nil && p != (stop{}) {
					panic(p)
				}
			}()
			play(h, script, whole, deadline, ends)
		})
		if len(f.texts) > 0 {
			rt.Fatalf("%s", strings.Join(f.texts, "\n"))
		}
	})
	if !testing.Short() && (ends["done"] == 0 || ends["failed"] == 0 || ends["cancelled"] == 0) {
		t.Errorf("the scripts reach only %v", ends)
	}
}

func play(h *rig, script []step, whole bool, deadline time.Duration, ends map[string]int) {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	req := request()
	req.Whole, req.Deadline = whole, time.Now().Add(deadline)
	out := h.do(ctx, req)
	runs := map[string]*run{}
	for _, s := range script {
		switch s.event {
		case "leave":
			leave()
		case "gone":
			h.fleet.onGone(s.worker)
		case "pause":
			time.Sleep(s.pause)
		case "frame", "serve":
			jobs := h.jobs()
			job := jobs[s.job%len(jobs)]
			if s.event == "serve" { // the way it should go
				job, s.worker, s.run = jobs[len(jobs)-1], "c", 0
			}
			key := fmt.Sprint(s.worker, job.Attempt, s.run)
			if runs[key] == nil {
				runs[key] = h.run(s.worker, uint64(len(runs)+1), &job)
			}
			switch r := runs[key]; {
			case r.cancelled(): // the receiver hands on nothing more
			case s.event == "serve":
				natural := []wire.Kind{wire.Decoding, wire.Data, wire.Data, wire.End}
				r.step(natural[min(int(r.next), len(natural)-1)], key, place(whole))
			case s.kind == wire.Fail:
				r.fail(wire.Failure{Reason: s.reason})
			default:
				r.step(s.kind, key, s.place)
			}
		}
		synctest.Wait()
	}
	time.Sleep(2 * time.Minute) // past the deadline
	res := h.now(out)
	if (res.answer == nil) == (res.err == nil) {
		h.t.Fatalf("Do = %v, %v", res.answer, res.err)
	}
	if res.answer != nil {
		pieces, _ := rest(res.answer)
		for _, p := range pieces {
			if first, _, _ := strings.Cut(pieces[0], "/"); !strings.HasPrefix(p, first+"/") {
				h.t.Errorf("pieces of two runs in one answer: %q", pieces)
			}
		}
		res.answer.Close()
	}
	synctest.Wait()
	if n := len(h.jobs()); n > 3 {
		h.t.Errorf("%d attempts, want at most 3", n)
	}
	got, total := h.outcomes(), 0
	for state, n := range got {
		total += n
		ends[state] += n
	}
	if total != 1 {
		h.t.Errorf("final states are %v, want one", got)
	}
	h.over(got)
}

// step sends a frame whose payload is what its kind has; pieces of the answer name their run.
func (r *run) step(kind wire.Kind, key, place string) {
	switch kind {
	case wire.Prefilling, wire.Decoding:
		r.send(kind, place)
	case wire.Handed:
		r.send(kind, `{"decode_worker":"b","lease_ns":10000000000}`)
	default:
		r.send(kind, key+"/"+itoa(uint64(r.next)))
	}
}

// jobs returns the requests of all jobs published.
func (h *rig) jobs() (all []wire.Request) {
	for _, j := range h.queue.all() {
		all = append(all, j.Request)
	}
	return all
}
