package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// drain serves one job after the other on one worker, a second each, and returns their keys.
func (b *bench) drain() (order []string) {
	for b.Queued() > 0 {
		d, ok := b.Next(b.now)
		if !ok {
			b.Fatalf("stuck with %d jobs: %+v", b.Queued(), b.Snapshot(b.now))
		}
		order = append(order, d.Job.Key)
		b.now = b.now.Add(time.Second)
		b.report(d.Worker, d.Job.Key, wire.StageDecoding)
		b.report(d.Worker, d.Job.Key, wire.StageEnded)
	}
	return order
}

func single(t testing.TB, change ...func(*schedule.Config)) *bench {
	return newBench(t, law(schedule.Aggregated, change...), a(wire.RoleBoth, "w"))
}

func class(c wire.Class) func(*schedule.Job) { return func(j *schedule.Job) { j.Class = c } }
func tenant(name string) func(*schedule.Job) { return func(j *schedule.Job) { j.Tenant = name } }

func until(b *bench, d time.Duration) func(*schedule.Job) {
	return func(j *schedule.Job) { j.Deadline = b.now.Add(d) }
}

func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		add  func(*bench)
		want string
	}{
		"first come": {func(b *bench) { b.add("1", 8192); b.add("2", 8192); b.add("3", 600) }, "1 2 3"},
		"admitted": {func(b *bench) {
			b.add("2", 8192)
			b.add("1", 8192, func(j *schedule.Job) { j.Admitted = b.now.Add(-time.Second) })
		}, "1 2"},
		"class": {func(b *bench) {
			b.add("3", 600, class(wire.Batch))
			b.add("2", 600)
			b.add("1", 600, class(wire.Interactive))
		}, "1 2 3"},
		"short in turn": {func(b *bench) { b.add("1", 8192); b.add("2", 100); b.add("3", 8192) }, "1 2 3"},
		"deadlines": {func(b *bench) {
			b.add("3", 600)
			b.add("2", 600, until(b, time.Hour))
			b.add("1", 600, until(b, time.Minute))
		}, "1 2 3"},
		"a class is worth more than a deadline": {func(b *bench) { b.add("2", 600, until(b, time.Minute)); b.add("1", 600, class(wire.Interactive)) }, "1 2"},
		"ageing": {func(b *bench) {
			b.add("1", 600, class(wire.Batch))
			b.now = b.now.Add(31 * time.Minute)
			b.add("2", 600)
			b.add("3", 600, class(wire.Batch))
		}, "1 2 3"},
		"ageing past all classes": {func(b *bench) {
			b.add("1", 600, class(wire.Batch))
			b.now = b.now.Add(91 * time.Minute)
			b.add("2", 600, class(wire.Interactive), until(b, time.Minute))
		}, "1 2"},
		"tenants in turn": {func(b *bench) {
			for i := range 3 {
				b.add(fmt.Sprint("x", i), 600, tenant("x"))
			}
			b.add("y0", 600, tenant("y"))
			b.add("y1", 600, tenant("y"))
		}, "x0 y0 x1 y1 x2"},
		"tenants by tokens": {func(b *bench) {
			b.add("x0", 8000, tenant("x"))
			b.add("x1", 8000, tenant("x"))
			for i := range 3 {
				b.add(fmt.Sprint("y", i), 3900, tenant("y"))
			}
		}, "x0 y0 y1 x1 y2"},
	} {
		t.Run(name, func(t *testing.T) {
			b := single(t)
			c.add(b)
			if got := strings.Join(b.drain(), " "); got != c.want {
				t.Errorf("order is %s, want %s", got, c.want)
			}
			b.empty()
		})
	}
}

// With a promise of the first token, jobs that cannot keep it go last, or are refused.
func TestLateJobs(t *testing.T) {
	for _, reject := range []bool{false, true} {
		b := single(t, func(c *schedule.Config) { c.SLO.TTFT, c.RejectLate = 5*time.Second, reject })
		for i := range 20 { // a second each
			b.add(fmt.Sprintf("%02d", i), 8192)
		}
		var order, refused []string
		for b.Queued() > 0 {
			for _, r := range b.Expired(b.now) {
				refused = append(refused, r.Job.Key)
			}
			if b.Queued() == 0 {
				break
			}
			if len(order) == 3 {
				b.add("new", 8192)
			}
			d, ok := b.Next(b.now)
			if !ok { // none can be in time, and none is late yet
				b.now = b.Wake(b.now)
				continue
			}
			order = append(order, d.Job.Key)
			b.now = b.now.Add(time.Second)
			b.report("w", d.Job.Key, wire.StageDecoding)
			b.report("w", d.Job.Key, wire.StageEnded)
		}
		at := slices.Index(order, "new")
		if at < 4 || at > 6 {
			t.Errorf("the job that can be in time is number %d: %v", at, order)
		}
		if reject != (len(refused) > 10) || len(order)+len(refused) != 21 {
			t.Errorf("%d served and %d refused of 21", len(order), len(refused))
		}
	}
}

// One tenant's ten thousand jobs do not hold another's one, and two tenants who always have work get
// the same, however long one of them was alone before.
func TestTenantsShare(t *testing.T) {
	b := single(t)
	for i := range 10_000 {
		b.add(fmt.Sprint("big", i), 1000, tenant("big"))
	}
	for range 500 {
		b.serveOne()
	}
	b.add("small", 1000, tenant("small"))
	if got := b.serveOne(); got != "small" {
		b.serveOne()
		if got = b.serveOne(); got != "small" {
			t.Error("the small tenant's job is not among the next two")
		}
	}
	for i := range 400 {
		b.add(fmt.Sprint("late", i), 2000, tenant("late"))
	}
	served := map[string]int{}
	for range 300 {
		served[strings.TrimRight(b.serveOne(), "0123456789")]++
	}
	// A job of the late one is 2200 tokens with its answer, one of the big one 1200.
	if big, late := served["big"]*1200, served["late"]*2200; big < late*9/10 || late < big*9/10 {
		t.Errorf("tokens served: big %d, late %d, want the same", big, late)
	}
}

func (b *bench) serveOne() string {
	d, ok := b.Next(b.now)
	if !ok {
		b.Fatalf("nothing can be placed: %+v", b.Snapshot(b.now))
	}
	b.now = b.now.Add(time.Second)
	b.report("w", d.Job.Key, wire.StageDecoding)
	b.report("w", d.Job.Key, wire.StageEnded)
	return d.Job.Key
}

// A batch job comes to its turn under a never-ending load of better classes.
func TestNothingStarves(t *testing.T) {
	b := single(t, func(c *schedule.Config) { c.Aging = time.Minute })
	b.add("batch", 8192, class(wire.Batch))
	for i := range 400 {
		b.add(fmt.Sprint("i", 2*i), 8192, class(wire.Interactive))
		b.add(fmt.Sprint("i", 2*i+1), 8192, class(wire.Interactive))
		if b.serveOne() == "batch" {
			if waited := b.now.Sub(epoch); waited > 5*time.Minute {
				t.Errorf("it waited %v, want about three times the ageing", waited)
			}
			return
		}
	}
	t.Error("the batch job was never served")
}

func TestQueueEdits(t *testing.T) {
	b := single(t)
	running := b.add("0", 8192)
	b.want("0 aggregated w")
	b.add("1", 8192)
	b.add("2", 8192, until(b, 10*time.Second))
	b.add("3", 8192, func(j *schedule.Job) { j.Frontend = "g" })
	again := b.add("1", 8192) // redelivered: keeps its place
	if got := b.Queued(); got != 3 {
		t.Fatalf("%d queued, want 3", got)
	}
	if got := b.Remove("1"); got != again {
		t.Errorf("Remove = %v, want the job that came last", got)
	}
	if got := b.Remove("1"); got != nil {
		t.Errorf("Remove of a job that is not there = %v", got)
	}
	if got := b.Remove(running.Key); got != nil {
		t.Errorf("Remove of an assigned job = %v", got)
	}
	if got := b.RemoveFrontend("g"); len(got) != 1 || got[0].Key != "3" {
		t.Errorf("RemoveFrontend = %v, want 3", got)
	}
	if at := b.Wake(b.now); at.Sub(b.now) > 10*time.Second {
		t.Errorf("wakes at %v, want at the deadline or before", at)
	}
	b.now = b.now.Add(10 * time.Second)
	if got := b.Expired(b.now); len(got) != 1 || got[0].Job.Key != "2" || got[0].Reason != wire.DeadlineOver || b.Queued() != 0 {
		t.Errorf("Expired = %v with %d left, want 2 and none", got, b.Queued())
	}
	if at := b.Wake(b.now); !at.IsZero() {
		t.Errorf("wakes at %v with nothing queued", at)
	}
}

func TestUndoPutsAJobBack(t *testing.T) {
	b := newBench(t, law(schedule.Split), one("p", "d")...)
	b.add("1", 8192)
	b.add("2", 8192)
	d, _ := b.Next(b.now)
	b.Undo(d, b.now)
	b.empty()
	b.Undo(d, b.now)
	if b.Queued() != 2 {
		t.Errorf("%d queued, want 2", b.Queued())
	}
	b.want("1 split p>d")
}

// BenchmarkDecision places a few of ten thousand jobs, and then finds that no more can be placed.
func BenchmarkDecision(b *testing.B) {
	workers := []schedule.Worker{}
	for i := range 8 {
		workers = append(workers, a(wire.RolePrefill, fmt.Sprint("p", i)), a(wire.RoleDecode, fmt.Sprint("d", i)))
	}
	q := newBench(b, law(schedule.Elastic, func(c *schedule.Config) { c.SLO.TTFT = time.Hour }), workers...)
	prefix := make([]uint64, 32)
	n := 0
	add := func() {
		n++
		for i := range prefix {
			prefix[i] = uint64(n%50)<<32 + uint64(i)
		}
		q.add(fmt.Sprint(n), 8192, tenant(fmt.Sprint(n%20)), class(wire.Class(n%3)), func(j *schedule.Job) { j.Prefix = slices.Clone(prefix) })
	}
	for range 10_000 {
		add()
	}
	var at string // a prefill worker, and what it does
	for {
		d, ok := q.Next(q.now)
		if !ok {
			break
		}
		if d.Worker == "p0" {
			at = d.Job.Key
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		q.now = q.now.Add(time.Millisecond)
		q.report("p0", at, wire.StageHanded)
		q.report("p0", at, wire.StageEnded)
		for _, w := range q.Snapshot(q.now).Workers {
			if w.Role == wire.RoleDecode { // done with all it had
				q.RemoveWorker(w.ID)
				q.SetWorker(a(wire.RoleDecode, w.ID))
			}
		}
		add()
		for {
			d, ok := q.Next(q.now)
			if !ok {
				break
			}
			if d.Worker == "p0" {
				at = d.Job.Key
			}
			add()
		}
	}
}
