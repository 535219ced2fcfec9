package router_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"pgregory.net/rapid"
)

// plan is all that a play depends on.
type plan struct {
	whole bool
	asked []asked
	steps []step
}

// asked is one request.
type asked struct {
	manner   manner
	deadline time.Duration
}

// step is one event. Numbers that name a request, a job or a run count around.
type step struct {
	event  string
	pause  time.Duration
	worker string // of a frame that comes as it likes
	gone   string
	client int
	job    int
	run    int
	kind   wire.Kind
	ends   bool   // a piece of an answer that can go on is its last
	late   bool   // the frame comes after the next one of its run
	place  string // of a Prefilling or Decoding frame
	reason wire.Reason
}

// events are what may happen, each as often as it stands here.
var events = slices.Concat(
	slices.Repeat([]string{"serve", "ghost", "fail", "read"}, 9), slices.Repeat([]string{"split"}, 5), slices.Repeat([]string{"frame", "gone"}, 4),
	[]string{"pause", "replay", "lose", "queue down", "queue full", "queue up", "queue up", "queue up"}, rare,
)

// rare ends most of what is under way, and happens in a few of the steps that are drawn for it.
var rare = []string{"leave", "close", "refuse", "stop"}

// No pause of the script ends with a backoff, whose length is random, or at a deadline.
const unit = 10 * time.Millisecond

var drawPlan = rapid.Custom(func(t *rapid.T) plan {
	length := rapid.SampledFrom([]int{0, 20, 40, 80, 120, 160}).Draw(t, "length") // a slice's own would mostly be short
	return plan{
		whole: rapid.Bool().Draw(t, "whole"),
		asked: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) asked {
			return asked{
				manner:   rapid.SampledFrom([]manner{streamed, unstreamed, goingOn}).Draw(t, "manner"),
				deadline: rapid.SampledFrom([]time.Duration{100 * unit, 1000 * unit, 10_000 * unit, 10_000 * unit, 10_000 * unit}).Draw(t, "deadline") + unit/2,
			}
		}), 1, 3).Draw(t, "asked"),
		steps: rapid.SliceOfN(rapid.Custom(drawStep), length, length).Draw(t, "steps"),
	}
})

func drawStep(t *rapid.T) step {
	return step{
		event: rapid.SampledFrom(events).Draw(t, "event"),
		pause: time.Duration(rapid.IntRange(0, 300).Draw(t, "pause")) * unit, worker: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "worker"),
		gone:   rapid.SampledFrom([]string{"a0", "b1", "p", "w"}).Draw(t, "gone"),
		client: rapid.IntRange(0, 2).Draw(t, "client"), job: rapid.IntRange(0, 5).Draw(t, "job"), run: rapid.IntRange(0, 5).Draw(t, "run"),
		kind:  rapid.SampledFrom([]wire.Kind{wire.Prefilling, wire.Handed, wire.Decoding, wire.Decoding, wire.Data, wire.Data, wire.End, wire.Fail}).Draw(t, "kind"),
		ends:  rapid.IntRange(0, 4).Draw(t, "ends") == 4,
		late:  rapid.IntRange(0, 4).Draw(t, "late") == 4,
		place: rapid.SampledFrom([]string{splitly, wholly}).Draw(t, "place"),
		reason: rapid.SampledFrom([]wire.Reason{
			wire.EngineDown, wire.EngineDown, wire.EngineError, wire.EngineError, wire.EngineTimeout, wire.HandleUsed, wire.WorkerStopping, wire.EngineRejected,
		}).Draw(t, "reason"),
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

// perform plays p in virtual time and returns what the clients saw.
func (f *faults) perform(t *testing.T, p plan) (seen []string) {
	synctest.Test(t, func(*testing.T) {
		s := newStage(f, p)
		defer s.end()
		defer func() {
			if p := recover(); p != nil && p != (stop{}) {
				panic(p)
			}
		}()
		s.play(p.steps)
		seen = s.finish()
	})
	return seen
}

// Whatever comes in whatever order, every request that was let in ends exactly once, nothing of it stays,
// and its client reads one answer: each piece once, in order.
func TestEveryRequestEndsExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var f faults
		f.perform(t, drawPlan.Draw(rt, "plan"))
		if len(f.texts) > 0 {
			rt.Fatalf("%s", strings.Join(f.texts, "\n"))
		}
	})
}

// A fault that was found can be shrunk and played again, since nothing but the plan decides. Plays reach every end.
func TestPlaysAreTheSameEachTime(t *testing.T) {
	ends := map[string]int{}
	for seed := range 100 {
		p := drawPlan.Example(seed)
		var f faults
		first, second := f.perform(t, p), f.perform(t, p)
		if fmt.Sprint(first) != fmt.Sprint(second) || len(f.texts) > 0 {
			t.Errorf("seed %d: clients saw %q, then %q; %q", seed, first, second, f.texts)
		}
		for _, line := range first {
			state, _, _ := strings.Cut(line, " ")
			ends[state]++
		}
	}
	if ends["done"] == 0 || ends["failed"] == 0 || ends["cancelled"] == 0 {
		t.Errorf("the plays reach only %v", ends)
	}
}
