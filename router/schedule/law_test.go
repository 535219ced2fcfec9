package schedule_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// epoch is when tests begin.
var epoch = time.Unix(1_700_000_000, 0)

// bench is a scheduler under a test's clock.
type bench struct {
	testing.TB
	*schedule.Scheduler
	now time.Time
	seq map[string]uint64 // of reports, by worker
}

func newBench(t testing.TB, cfg schedule.Config, workers ...schedule.Worker) *bench {
	b := &bench{TB: t, Scheduler: schedule.New(cfg), now: epoch, seq: map[string]uint64{}}
	for _, w := range workers {
		b.SetWorker(w)
	}
	return b
}

// a worker of a role with room for 100,000 tokens.
func a(role wire.Role, id string) schedule.Worker {
	return schedule.Worker{ID: id, Role: role, Capacity: 100_000, Ready: true, Started: epoch}
}

func one(p, d string) []schedule.Worker {
	return []schedule.Worker{a(wire.RolePrefill, p), a(wire.RoleDecode, d)}
}

func (b *bench) add(key string, tokens int, change ...func(*schedule.Job)) *schedule.Job {
	j := &schedule.Job{Key: key, Frontend: "f", Class: wire.Standard, Admitted: b.now, Tokens: tokens, MaxTokens: 200}
	for _, f := range change {
		f(j)
	}
	b.Add(j, b.now)
	return j
}

// all has everything placed that can be, and says where: "key why worker[>decode worker]".
func (b *bench) all() (placed []string) {
	for {
		d, ok := b.Next(b.now)
		if !ok {
			return placed
		}
		to := d.Worker
		if d.Place == wire.PlaceSplit {
			to += ">" + d.Decode
		}
		placed = append(placed, fmt.Sprintf("%s %s %s", d.Job.Key, d.Why, to))
	}
}

func (b *bench) want(placed ...string) {
	b.Helper()
	if got := b.all(); !slices.Equal(got, placed) {
		b.Errorf("placed %q, want %q; waiting for %v", got, placed, b.Snapshot(b.now).Waiting)
	}
}

func (b *bench) waits(reason string) {
	b.Helper()
	b.want()
	if got := b.Snapshot(b.now).Waiting; got[reason] == 0 {
		b.Errorf("waiting for %v, want %s", got, reason)
	}
}

// report has a worker say how far a job is, in the words "key stage" and with 8192 tokens.
func (b *bench) report(worker, key string, stage wire.Stage) {
	b.hear(worker, false, 0, wire.JobReport{Key: key, Stage: stage, Tokens: 8192, KV: 8392})
}

func (b *bench) hear(worker string, full bool, itl time.Duration, jobs ...wire.JobReport) {
	b.seq[worker]++
	b.Report(&wire.Report{Worker: worker, Started: epoch, Seq: b.seq[worker], Full: full, ITL: itl, Jobs: jobs}, b.now)
}

func (b *bench) books(id string) schedule.WorkerBooks {
	for _, w := range b.Snapshot(b.now).Workers {
		if w.ID == id {
			return w
		}
	}
	b.Fatalf("no worker is called %s", id)
	return schedule.WorkerBooks{}
}

func (b *bench) empty() {
	b.Helper()
	for _, w := range b.Snapshot(b.now).Workers {
		if w.Prompts != 0 || w.PromptTokens != 0 || w.Decoding != 0 || w.Reserved != 0 || w.Handles != 0 || w.KV != 0 {
			b.Errorf("the books of %s are not empty: %+v", w.ID, w)
		}
	}
}

func TestPlacement(t *testing.T) {
	whole := func(j *schedule.Job) { j.Whole = true }
	p, d, x, y := a(wire.RolePrefill, "p"), a(wire.RoleDecode, "d"), a(wire.RoleBoth, "x"), a(wire.RoleBoth, "y")
	away := d
	away.Leaving = true
	broken := p
	broken.Ready = false
	for name, c := range map[string]struct {
		mode    schedule.Mode
		workers []schedule.Worker
		add     func(*bench)
		want    []string
		waits   string
	}{
		"nobody is there":             {schedule.Elastic, nil, func(b *bench) { b.add("1", 9) }, nil, "no_worker"},
		"nobody takes work":           {schedule.Elastic, []schedule.Worker{away, broken}, func(b *bench) { b.add("1", 9) }, nil, "no_worker"},
		"a short prompt":              {schedule.Elastic, one("p", "d"), func(b *bench) { b.add("1", 512) }, []string{"1 short d"}, ""},
		"a short prompt, fixed":       {schedule.Split, one("p", "d"), func(b *bench) { b.add("1", 512) }, []string{"1 short d"}, ""},
		"a long prompt":               {schedule.Elastic, one("p", "d"), func(b *bench) { b.add("1", 513) }, []string{"1 split p>d"}, ""},
		"more prompts":                {schedule.Elastic, one("p", "d"), func(b *bench) { b.add("1", 8192); b.add("2", 8192); b.add("3", 8192) }, []string{"1 split p>d", "2 lend d"}, "window"},
		"more prompts, fixed":         {schedule.Split, one("p", "d"), func(b *bench) { b.add("1", 8192); b.add("2", 8192) }, []string{"1 split p>d"}, "window"},
		"a batch of prompts":          {schedule.Split, one("p", "d"), func(b *bench) { b.add("1", 2048); b.add("2", 2047); b.add("3", 1000); b.add("4", 1000) }, []string{"1 split p>d", "2 split p>d", "3 split p>d"}, "window"},
		"not to be split":             {schedule.Elastic, one("p", "d"), func(b *bench) { b.add("1", 8192, whole) }, []string{"1 whole d"}, ""},
		"not to be split, fixed":      {schedule.Split, one("p", "d"), func(b *bench) { b.add("1", 8192, whole); b.add("2", 8192) }, []string{"1 whole d", "2 split p>d"}, ""},
		"only prefill workers":        {schedule.Elastic, []schedule.Worker{p}, func(b *bench) { b.add("1", 8192); b.add("2", 100) }, []string{"1 whole p"}, "window"},
		"only decode workers":         {schedule.Split, []schedule.Worker{d}, func(b *bench) { b.add("1", 8192) }, []string{"1 whole d"}, ""},
		"aggregated":                  {schedule.Aggregated, []schedule.Worker{p, d, x}, func(b *bench) { b.add("1", 8192); b.add("2", 8192); b.add("3", 8192); b.add("4", 8192) }, []string{"1 aggregated d", "2 aggregated p", "3 aggregated x"}, "window"},
		"workers that do both":        {schedule.Elastic, []schedule.Worker{x, y}, func(b *bench) { b.add("1", 8192); b.add("2", 8192) }, []string{"1 lend x", "2 lend y"}, ""},
		"workers that do both, fixed": {schedule.Split, []schedule.Worker{x, y}, func(b *bench) { b.add("1", 8192) }, []string{"1 split x>y"}, ""},
		"larger than every cache":     {schedule.Elastic, one("p", "d"), func(b *bench) { b.add("1", 500_000) }, []string{"1 split p>d"}, ""},
		"the caches are full":         {schedule.Split, one("p", "d"), func(b *bench) { b.add("1", 94_000); b.add("2", 400) }, []string{"1 split p>d", "2 short d"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, law(c.mode), c.workers...)
			c.add(b)
			b.want(c.want...)
			if c.waits != "" {
				b.waits(c.waits)
			}
		})
	}
}

// A decode worker whose answers are slow gets no long prompt, and none for two seconds once they
// were slow for one.
func TestLendingHolds(t *testing.T) {
	b := newBench(t, law(schedule.Elastic), one("p", "d")...)
	b.add("0", 8192)
	b.want("0 split p>d")
	b.report("d", "0", wire.StageDecoding)
	b.add("1", 8192)
	b.hear("d", false, 96*time.Millisecond)
	b.waits("window")
	b.hear("d", false, 94*time.Millisecond)
	b.want("1 lend d")
	b.report("d", "1", wire.StageDecoding)
	b.add("2", 8192)
	for range 11 {
		b.hear("d", false, 120*time.Millisecond)
		b.now = b.now.Add(100 * time.Millisecond)
	}
	b.hear("d", false, 120*time.Millisecond)
	if !b.books("d").Held {
		t.Error("not held after a second of slow answers")
	}
	b.hear("d", false, 20*time.Millisecond)
	b.want()
	if at := b.Wake(b.now); at.IsZero() || at.Sub(b.now) > 2*time.Second {
		t.Errorf("wakes at %v, want when the hold ends", at)
	}
	b.now = b.now.Add(2 * time.Second)
	b.hear("d", false, 20*time.Millisecond)
	b.want("2 lend d")
}

// A prefill worker keeps a job only when decode workers had no room for some time.
func TestKeeping(t *testing.T) {
	b := newBench(t, law(schedule.Elastic), one("p", "d")...)
	b.add("0", 90_000)
	b.want("0 split p>d")
	b.report("p", "0", wire.StageHanded)
	b.report("p", "0", wire.StageEnded)
	b.hear("d", false, 0, wire.JobReport{Key: "0", Stage: wire.StageDecoding, Tokens: 90_000, KV: 90_200})
	b.add("1", 8192)
	b.add("2", 8192)
	b.waits("kv_full")
	for range 10 {
		b.now = b.now.Add(90 * time.Millisecond)
		b.waits("kv_full")
	}
	b.now = b.now.Add(100 * time.Millisecond)
	b.want("1 keep p")
	b.report("p", "1", wire.StageDecoding)
	b.hear("p", false, 120*time.Millisecond)
	b.waits("slo_hold")
	b.hear("p", false, 90*time.Millisecond)
	b.want("2 keep p")
}

func TestJobsPassALargeOneForSomeTimeOnly(t *testing.T) {
	b := newBench(t, law(schedule.Split), one("p", "d")...)
	next := 0
	small := func() string { // a job of a second
		next++
		key := fmt.Sprint("s", next)
		b.add(key, 20_000, func(j *schedule.Job) { j.Whole = false })
		return key
	}
	running := []string{}
	for range 3 {
		key := small()
		b.want(key + " split p>d")
		b.report("p", key, wire.StageHanded)
		b.report("p", key, wire.StageEnded)
		b.hear("d", false, 0, wire.JobReport{Key: key, Stage: wire.StageDecoding, Tokens: 20_000, KV: 20_200})
		running = append(running, key)
	}
	b.add("large", 80_000)
	var order []string
	for range 30 {
		small()
		b.now = b.now.Add(time.Second)
		b.report("d", running[0], wire.StageEnded)
		running = running[1:]
		for {
			d, ok := b.Next(b.now)
			if !ok {
				break
			}
			order = append(order, d.Job.Key)
			b.report("p", d.Job.Key, wire.StageHanded)
			b.report("p", d.Job.Key, wire.StageEnded)
			b.hear("d", false, 0, wire.JobReport{Key: d.Job.Key, Stage: wire.StageDecoding, Tokens: d.Job.Tokens, KV: d.Job.Tokens + 200})
			running = append(running, d.Job.Key)
		}
		if len(running) == 0 || slices.Contains(order, "large") {
			break
		}
	}
	at := slices.Index(order, "large")
	if at < 1 || at > 12 {
		t.Errorf("the large job came after %d others (%v), want some, and not all", at, order)
	}
}

func TestLinkGuard(t *testing.T) {
	b := newBench(t, law(schedule.Split), one("p", "d")...)
	var handed []string
	for i := range 4 { // one prompt each 500 ms, one transfer each 2 s
		key := fmt.Sprint(i)
		b.add(key, 8192)
		b.want(key + " split p>d")
		b.now = b.now.Add(500 * time.Millisecond)
		b.report("p", key, wire.StageHanded)
		b.report("d", key, wire.StageDecoding)
		handed = append(handed, key)
	}
	for _, key := range handed[:2] {
		b.now = b.now.Add(2 * time.Second)
		b.report("p", key, wire.StageEnded)
	}
	b.add("next", 8192)
	b.waits("link")
	for _, key := range handed[2:] {
		b.now = b.now.Add(2 * time.Second)
		b.report("p", key, wire.StageEnded)
	}
	b.want("next split p>d")
}

func TestJobAvoidsWorkersWhileThereAreOthers(t *testing.T) {
	avoid := func(ids ...string) func(*schedule.Job) { return func(j *schedule.Job) { j.Avoid = ids } }
	for name, tt := range map[string]struct {
		tokens int
		avoid  []string
		want   string
	}{
		"prefill":       {4000, []string{"p1"}, "split p2>d1"},
		"decode":        {4000, []string{"d1"}, "split p1>d2"},
		"both":          {4000, []string{"p1", "d1"}, "split p2>d2"},
		"short":         {100, []string{"d1"}, "short d2"},
		"all of a kind": {4000, []string{"p1", "p2", "d1"}, "split p1>d2"},
		"the last":      {4000, []string{"p2", "p1", "d1"}, "split p2>d2"},
		"nobody":        {4000, nil, "split p1>d1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, schedule.DefaultConfig(), append(one("p1", "d1"), one("p2", "d2")...)...)
			b.add("j", tt.tokens, avoid(tt.avoid...))
			if got := b.all(); len(got) != 1 || got[0] != "j "+tt.want {
				t.Errorf("placed %q, want %q", got, "j "+tt.want)
			}
		})
	}
}
