package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

func keys(jobs []*schedule.Job) (out []string) {
	for _, j := range jobs {
		out = append(out, j.Key)
	}
	return out
}

// A split job's way through the books.
func TestBooksOfASplitJob(t *testing.T) {
	b := newBench(t, law(schedule.Elastic), one("p", "d")...)
	b.add("1", 8000)
	b.want("1 split p>d")
	check := func(when string, prompts, handles, kv, reserved, decoding, decodeKV int) {
		t.Helper()
		p, d := b.books("p"), b.books("d")
		if p.Prompts != prompts || p.Handles != handles || p.KV != kv || d.Reserved != reserved || d.Decoding != decoding || d.KV != decodeKV {
			t.Errorf("%s: prefill %+v, decode %+v", when, p, d)
		}
	}
	check("assigned", 1, 0, 8000, 1, 0, 8200)
	b.report("p", "1", wire.StagePrefilling)
	check("accepted", 1, 0, 8392, 1, 0, 8200)
	b.hear("p", false, 0, wire.JobReport{Key: "1", Stage: wire.StageHanded, Tokens: 8192, KV: 8192})
	check("handed", 0, 1, 8192, 1, 0, 8200)
	b.report("d", "1", wire.StageDecoding)
	check("decoding", 0, 1, 8192, 0, 1, 8392)
	b.report("p", "1", wire.StageEnded)
	check("read", 0, 0, 0, 0, 1, 8392)
	b.report("d", "1", wire.StageEnded)
	b.empty()
}

func TestReportsThatAreLostOrComeTwice(t *testing.T) {
	split := func(t *testing.T) *bench {
		b := newBench(t, law(schedule.Elastic), one("p", "d")...)
		b.add("1", 8192)
		b.want("1 split p>d")
		return b
	}
	t.Run("twice", func(t *testing.T) {
		b := split(t)
		for range 2 {
			b.report("p", "1", wire.StageHanded)
			b.report("d", "1", wire.StageDecoding)
		}
		for range 2 {
			b.report("p", "1", wire.StageEnded)
			b.report("d", "1", wire.StageEnded)
		}
		b.empty()
	})
	t.Run("overtaken", func(t *testing.T) {
		b := split(t)
		b.report("p", "1", wire.StageHanded)
		b.report("p", "1", wire.StageEnded)
		b.seq["p"] = 0
		b.report("p", "1", wire.StagePrefilling)
		if p := b.books("p"); p.Prompts != 0 || p.KV != 0 {
			t.Errorf("an old report was taken: %+v", p)
		}
	})
	t.Run("all lost", func(t *testing.T) {
		b := split(t)
		b.hear("p", true, 0)
		b.hear("d", true, 0)
		if p, d := b.books("p"), b.books("d"); p.Prompts != 1 || d.Reserved != 1 {
			t.Errorf("a full report ended what may be on its way: %+v %+v", p, d)
		}
		b.now = b.now.Add(3 * time.Second)
		b.hear("p", true, 0)
		b.hear("d", true, 0)
		b.empty() // the prefill is over without a handle, so there is nothing to decode
	})
	t.Run("the decode worker never hears of it", func(t *testing.T) {
		b := split(t)
		b.report("p", "1", wire.StageHanded)
		b.now = b.now.Add(34 * time.Second)
		b.want()
		if d := b.books("d"); d.Reserved != 1 {
			t.Errorf("the reservation ended within the lease: %+v", d)
		}
		b.now = b.now.Add(2 * time.Second)
		b.want()
		if d := b.books("d"); d.Reserved != 0 || d.KV != 0 {
			t.Errorf("the reservation outlives the lease: %+v", d)
		}
	})
	t.Run("the prefill fails", func(t *testing.T) {
		b := split(t)
		b.report("p", "1", wire.StagePrefilling)
		b.report("p", "1", wire.StageEnded)
		b.empty()
	})
	t.Run("unknown worker", func(t *testing.T) {
		b := split(t)
		b.report("x", "1", wire.StageDecoding)
	})
}

// A dispatcher that just begins learns from full reports what others have assigned.
func TestBooksOfANewLeader(t *testing.T) {
	b := newBench(t, law(schedule.Elastic), one("p", "d")...)
	b.hear("p", true, 0, wire.JobReport{Key: "1", Stage: wire.StagePrefilling, Tokens: 8192, KV: 8192}, wire.JobReport{Key: "2", Stage: wire.StageHanded, Tokens: 8192, KV: 8192})
	b.hear("d", true, 30*time.Millisecond, wire.JobReport{Key: "3", Stage: wire.StageDecoding, Tokens: 8192, KV: 70_000})
	b.add("4", 8192)
	b.want("4 lend d") // the prefill worker is busy
	b.add("5", 8192)
	b.waits("window")
	if p := b.books("p"); p.Handles != 1 || p.KV != 16384 {
		t.Errorf("prefill worker has %+v", p)
	}
	b.now = b.now.Add(3 * time.Second)
	b.hear("p", true, 0)
	b.report("d", "3", wire.StageEnded)
	b.report("d", "4", wire.StageEnded)
	b.empty()
}

func TestWorkersThatDieOrStartAnew(t *testing.T) {
	start := func(t *testing.T) *bench {
		b := newBench(t, law(schedule.Elastic), one("p", "d")...)
		b.add("1", 8192)
		b.want("1 split p>d")
		b.report("p", "1", wire.StageHanded)
		b.add("2", 8192)
		b.want("2 split p>d")
		return b
	}
	anew := a(wire.RolePrefill, "p")
	anew.Started = epoch.Add(time.Hour)
	again := func(t *testing.T, b *bench, got []*schedule.Job) {
		t.Helper()
		if fmt.Sprint(keys(got)) != "[2]" {
			t.Errorf("jobs that come again are %v, want the one that was not handed over", keys(got))
		}
		if d := b.books("d"); d.Reserved != 1 {
			t.Errorf("the decode worker's books are %+v, want the room for the handle only", d)
		}
	}
	t.Run("dies", func(t *testing.T) {
		b := start(t)
		again(t, b, b.RemoveWorker("p"))
		if got := b.RemoveWorker("p"); len(got) != 0 {
			t.Errorf("removed twice: %v", keys(got))
		}
	})
	t.Run("announces itself anew", func(t *testing.T) {
		b := start(t)
		again(t, b, b.SetWorker(anew))
		b.report("p", "2", wire.StageDecoding) // of the process that is gone
		if p := b.books("p"); p.Decoding != 0 {
			t.Errorf("the former process was heard: %+v", p)
		}
	})
	t.Run("reports anew", func(t *testing.T) {
		b := start(t)
		b.Report(&wire.Report{Worker: "p", Started: anew.Started, Seq: 1}, b.now)
		again(t, b, b.SetWorker(anew))
	})
	t.Run("the decode worker dies", func(t *testing.T) {
		b := start(t)
		if got := b.RemoveWorker("d"); len(got) != 0 {
			t.Errorf("jobs that come again are %v, want none: the router sees to them", keys(got))
		}
		b.report("p", "1", wire.StageEnded)
		b.report("p", "2", wire.StageHanded)
		b.report("p", "2", wire.StageEnded)
		b.empty()
	})
}

// A job that comes again takes nothing twice.
func TestRedelivery(t *testing.T) {
	b := newBench(t, law(schedule.Split), one("p", "d")...)
	b.add("1", 8192)
	b.want("1 split p>d")
	b.add("1", 8192) // the worker never got it
	b.empty()
	b.want("1 split p>d")
	b.report("p", "1", wire.StagePrefilling)
	b.add("1", 8192) // the worker has it, and its word to the server was lost
	if d := b.books("d"); d.KV != 0 {
		t.Errorf("room for a handle that may never come: %+v", d)
	}
	b.waits("window")
	b.report("p", "1", wire.StageHanded)
	b.report("d", "1", wire.StageDecoding)
	b.want("1 split p>d")
	b.report("p", "1", wire.StageEnded)
	b.report("d", "1", wire.StageEnded)
	if p := b.books("p"); p.KV != 0 {
		t.Errorf("prefill worker has %+v", p)
	}
}

// What jobs share is in a KV cache once, prompts go where their beginning is cached, and reports
// that say otherwise are believed.
func TestPrefixes(t *testing.T) {
	chain := func(doc, own int) (hs []uint64) {
		for i := range 32 { // of 256 tokens; 24 are the document's
			if i < 24 {
				hs = append(hs, uint64(doc*1000+i))
			} else {
				hs = append(hs, uint64(own*1_000_000+i))
			}
		}
		return hs
	}
	about := func(doc, own int) func(*schedule.Job) {
		return func(j *schedule.Job) { j.Prefix = chain(doc, own) }
	}
	b := newBench(t, law(schedule.Aggregated), a(wire.RoleBoth, "w1"), a(wire.RoleBoth, "w2"))
	b.add("1", 8192, about(1, 1))
	b.add("2", 8192, about(2, 2))
	b.want("1 aggregated w1", "2 aggregated w2")
	b.hear("w1", false, 0, wire.JobReport{Key: "1", Stage: wire.StageDecoding, Tokens: 8192, KV: 8392})
	b.hear("w2", false, 0, wire.JobReport{Key: "2", Stage: wire.StageDecoding, Tokens: 8192, KV: 8392})
	b.add("3", 8192, about(2, 3))
	b.add("4", 8192, about(1, 4))
	for _, to := range []string{"w2", "w1"} {
		if d, ok := b.Next(b.now); !ok || d.Worker != to || d.Shared != 24*256 {
			t.Errorf("Next = %s at %s with %d tokens shared, want %s and the document", d.Job.Key, d.Worker, d.Shared, to)
		}
	}
	b.want()
	if w := b.books("w1"); w.KV != 2*8392-24*256 || w.PromptTokens != 8*256 {
		t.Errorf("books of w1 are %+v, want the document counted once", w)
	}
	// The engine has no prefix cache: after some jobs nothing is expected of it any more.
	for i := range 40 {
		key := fmt.Sprint("n", i)
		b.add(key, 8192, about(1, 100+i))
		for {
			d, ok := b.Next(b.now)
			if !ok {
				break
			}
			b.hear(d.Worker, false, 0, wire.JobReport{Key: d.Job.Key, Stage: wire.StageDecoding, Tokens: 8192, KV: 8392})
			b.hear(d.Worker, false, 0, wire.JobReport{Key: d.Job.Key, Stage: wire.StageEnded, Tokens: 8192})
		}
		for _, k := range []string{"1", "2", "3", "4"} {
			b.report("w1", k, wire.StageEnded)
			b.report("w2", k, wire.StageEnded)
		}
	}
	b.empty()
	b.add("last", 8192, about(1, 999))
	d, ok := b.Next(b.now)
	if w := b.books(d.Worker); !ok || w.PromptTokens < 8000 {
		t.Errorf("expects %d tokens to compute, want nearly all 8192", w.PromptTokens)
	}
}

// Counts of prompts and lengths of answers are learned.
func TestEstimates(t *testing.T) {
	b := newBench(t, law(schedule.Split), one("p", "d")...)
	for i := range 20 {
		key := fmt.Sprint(i)
		b.add(key, 4096, func(j *schedule.Job) { j.MaxTokens = 0 })
		b.want(key + " split p>d")
		b.report("p", key, wire.StageHanded) // 8192 tokens
		b.hear("d", false, 50*time.Millisecond, wire.JobReport{Key: key, Stage: wire.StageDecoding, Tokens: 8192, KV: 8500})
		b.report("p", key, wire.StageEnded)
		b.now = b.now.Add(5 * time.Second)
		b.hear("d", false, 50*time.Millisecond, wire.JobReport{Key: key, Stage: wire.StageEnded})
	}
	b.add("last", 4096, func(j *schedule.Job) { j.MaxTokens = 0 })
	b.want("last split p>d")
	if kv := b.books("d").KV; kv < 8280 || kv > 8320 {
		t.Errorf("room for %d tokens, want 8192 and an answer of 100", kv)
	}
}

// An assignment that got lost on its way must not wait until the queue gives the job up.
func TestJobThatNeverReachedItsWorkerIsLost(t *testing.T) {
	b := newBench(t, schedule.DefaultConfig(), one("p1", "d1")...)
	j := b.add("j", 4000)
	heard := b.add("heard", 4000)
	if got := b.all(); len(got) == 0 || got[0] != "j split p1>d1" {
		t.Fatalf("placed %q", got)
	}
	full := func(jobs ...wire.JobReport) {
		b.Report(&wire.Report{Worker: "p1", Started: epoch, Full: true, Jobs: jobs}, b.now)
	}
	full(wire.JobReport{Key: heard.Key, Stage: wire.StagePrefilling, Tokens: 4000, KV: 4000})
	if lost := b.Lost(); len(lost) != 0 {
		t.Errorf("%d jobs are lost while their assignment may be on the way", len(lost))
	}
	b.now = b.now.Add(3 * time.Second)
	full(wire.JobReport{Key: heard.Key, Stage: wire.StagePrefilling, Tokens: 4000, KV: 4000})
	if lost := b.Lost(); len(lost) != 1 || lost[0] != j {
		t.Errorf("lost %v, want j alone", lost)
	}
	if lost := b.Lost(); len(lost) != 0 {
		t.Errorf("told twice of %d jobs", len(lost))
	}
}
