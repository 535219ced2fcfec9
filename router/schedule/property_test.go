package schedule_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// world is a fleet that behaves badly, around a scheduler: reports and assignments are lost or come
// twice, workers die and come back, jobs are redelivered.
type world struct {
	*rapid.T
	cfg     schedule.Config
	law     *schedule.Scheduler
	now     time.Time
	jobs    int
	queued  map[string]*schedule.Job // in the law's queue
	running map[string]*schedule.Job // assigned, and not ended
	workers map[string]*member
	held    map[string]time.Time // since when a worker's hold lasts
}

// member is a worker as it really is.
type member struct {
	schedule.Worker

	seq  uint64
	jobs map[string]*held
}

type held struct {
	*schedule.Job

	stage  wire.Stage
	decode string // that the handle goes to; "": whole, or this is the decode leg
}

const largest = 60_000 // tokens of a prompt

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.workers)) }

func (w *world) join(id string, role wire.Role) {
	m := &member{Worker: schedule.Worker{ID: id, Role: role, Capacity: 100_000, Slots: 32, Ready: true, Started: w.now}, jobs: map[string]*held{}}
	if old := w.workers[id]; old != nil {
		w.lose(old)
	}
	w.workers[id] = m
	w.again(w.law.SetWorker(m.Worker))
}

// lose forgets what a worker had: what is past it ends for the law's part.
func (w *world) lose(m *member) {
	for key := range m.jobs {
		delete(w.running, key)
	}
}

// again has jobs redelivered.
func (w *world) again(jobs []*schedule.Job) {
	for _, j := range jobs {
		delete(w.running, j.Key)
		w.queued[j.Key] = j
		w.law.Add(j, w.now)
	}
}

func (w *world) add() {
	w.jobs++
	j := &schedule.Job{
		Key: fmt.Sprint(w.jobs), Frontend: "f", Tenant: rapid.SampledFrom([]string{"a", "b"}).Draw(w.T, "tenant"),
		Class: wire.Class(rapid.IntRange(0, 2).Draw(w.T, "class")), Admitted: w.now,
		Tokens: rapid.OneOf(rapid.IntRange(1, 1000), rapid.IntRange(1, largest)).Draw(w.T, "tokens"), MaxTokens: rapid.IntRange(1, 400).Draw(w.T, "answer"),
		Whole: rapid.IntRange(0, 5).Draw(w.T, "whole") == 0,
	}
	for b := range j.Tokens / 256 { // tokens of a wire.PrefixBlock of text
		j.Prefix = append(j.Prefix, uint64(rapid.IntRange(0, 1).Draw(w.T, "branch"))<<32|uint64(b))
		if b > 8 {
			break
		}
	}
	w.queued[j.Key] = j
	w.law.Add(j, w.now)
}

func (w *world) books(id string) schedule.WorkerBooks {
	for _, b := range w.law.Snapshot(w.now).Workers {
		if b.ID == id {
			return b
		}
	}
	w.Fatalf("the law does not know %s", id)
	return schedule.WorkerBooks{}
}

// decide has the law place jobs; lossy says that assignments may be lost or undone.
func (w *world) decide(lossy bool) {
	for {
		before := w.law.Snapshot(w.now)
		a, ok := w.law.Next(w.now)
		if !ok {
			return
		}
		key := a.Job.Key
		if w.queued[key] != a.Job {
			w.Fatalf("%s was assigned and is not queued", key)
		}
		for _, b := range before.Workers {
			if b.ID == a.Worker {
				w.mayTake(b, w.books(b.ID))
			}
			if b.ID == a.Decode {
				w.fits(b, w.books(b.ID))
			}
		}
		if a.Decode == a.Worker || (a.Place == wire.PlaceSplit) != (a.Decode != "") || a.Job.Whole && a.Decode != "" {
			w.Fatalf("%s was placed %+v", key, a)
		}
		if lossy && rapid.IntRange(0, 9).Draw(w.T, "undo") == 0 {
			w.law.Undo(a, w.now)
			return
		}
		delete(w.queued, key)
		w.running[key] = a.Job
		if m := w.workers[a.Worker]; !lossy || rapid.IntRange(0, 9).Draw(w.T, "lost") != 0 {
			m.jobs[key] = &held{Job: a.Job, decode: a.Decode}
			w.tell(m, lossy, key, wire.StagePrefilling)
		}
	}
}

// mayTake checks what a worker gets. Short prompts have a window of their own, and one long prompt
// may be believed to be nearly done.
func (w *world) mayTake(before, after schedule.WorkerBooks) {
	if long := after.PromptTokens-before.PromptTokens > w.cfg.ShortPrompt; long && before.PromptTokens >= 2*w.cfg.PrefillWindow+largest {
		w.Fatalf("another prompt for %+v", before)
	}
	w.fits(before, after)
}

func (w *world) fits(before, after schedule.WorkerBooks) {
	if before.KV > 0 && after.KV > before.KV && float64(after.KV) > w.cfg.KVHigh*float64(after.Capacity) {
		w.Fatalf("more than fits: %+v, then %+v", before, after)
	}
}

// tell reports a stage; lossy reports may be lost or come twice.
func (w *world) tell(m *member, lossy bool, key string, stage wire.Stage) {
	m.seq++
	h := m.jobs[key]
	r := &wire.Report{Worker: m.ID, Started: m.Started, Seq: m.seq, Jobs: []wire.JobReport{{Key: key, Stage: stage}}, ITL: 20 * time.Millisecond}
	if stage == wire.StageEnded {
		delete(m.jobs, key)
	} else {
		h.stage = stage
		r.Jobs[0] = m.say(h)
	}
	times := 1
	if lossy {
		times = rapid.SampledFrom([]int{0, 1, 1, 1, 2}).Draw(w.T, "times")
	}
	for range times {
		w.law.Report(r, w.now)
	}
}

func (m *member) say(h *held) wire.JobReport {
	kv := h.Tokens + h.MaxTokens
	if h.decode != "" {
		kv = h.Tokens
	}
	return wire.JobReport{Key: h.Key, Stage: h.stage, Tokens: h.Tokens, KV: kv}
}

// step has one job of a worker come further.
func (w *world) step(m *member, lossy bool) {
	if len(m.jobs) == 0 {
		return
	}
	key := rapid.SampledFrom(slices.Sorted(maps.Keys(m.jobs))).Draw(w.T, "job")
	h := m.jobs[key]
	switch {
	case h.stage == wire.StagePrefilling && h.decode != "":
		w.tell(m, lossy, key, wire.StageHanded)
		if d := w.workers[h.decode]; d != nil && d.jobs[key] == nil {
			d.jobs[key] = &held{Job: h.Job}
			w.tell(d, lossy, key, wire.StageDecoding)
		} else {
			delete(w.running, key)
		}
	case h.stage == wire.StagePrefilling:
		w.tell(m, lossy, key, wire.StageDecoding)
	default:
		w.tell(m, lossy, key, wire.StageEnded)
		if h.decode == "" {
			delete(w.running, key)
		}
	}
}

func (w *world) full(m *member, itl time.Duration) {
	m.seq++
	r := &wire.Report{Worker: m.ID, Started: m.Started, Seq: m.seq, Full: true, ITL: itl}
	for _, key := range slices.Sorted(maps.Keys(m.jobs)) {
		r.Jobs = append(r.Jobs, m.say(m.jobs[key]))
	}
	w.law.Report(r, w.now)
}

// check looks at what must hold at any time.
func (w *world) check(*rapid.T) {
	if got := w.law.Queued(); got != len(w.queued) {
		w.Fatalf("%d jobs are queued, want %d", got, len(w.queued))
	}
	for _, b := range w.law.Snapshot(w.now).Workers {
		if b.Prompts < 0 || b.PromptTokens < 0 || b.Decoding < 0 || b.Reserved < 0 || b.Handles < 0 || b.KV < 0 {
			w.Fatalf("negative books: %+v", b)
		}
		since, was := w.held[b.ID]
		switch {
		case b.Held && !was:
			w.held[b.ID] = w.now
		case !b.Held && was:
			delete(w.held, b.ID)
			if w.now.Sub(since) < 2*time.Second && w.workers[b.ID].Started.Before(since) {
				w.Fatalf("the hold of %s lasted %v", b.ID, w.now.Sub(since))
			}
		}
	}
}

func TestBadWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := schedule.DefaultConfig()
		cfg.Mode = rapid.SampledFrom([]schedule.Mode{schedule.Elastic, schedule.Split, schedule.Aggregated}).Draw(t, "mode")
		w := &world{
			T: t, cfg: cfg, law: schedule.New(cfg), now: epoch, queued: map[string]*schedule.Job{}, running: map[string]*schedule.Job{},
			workers: map[string]*member{}, held: map[string]time.Time{},
		}
		roles := map[string]wire.Role{}
		for i, role := range rapid.SliceOfN(rapid.SampledFrom([]wire.Role{wire.RolePrefill, wire.RoleDecode, wire.RoleBoth}), 1, 4).Draw(t, "roles") {
			id := fmt.Sprint(role, i)
			roles[id] = role
			w.join(id, role)
		}
		any := func() *member {
			if len(w.workers) == 0 {
				w.Skip("no worker")
			}
			return w.workers[rapid.SampledFrom(w.names()).Draw(w.T, "worker")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"": w.check,
			"load": func(*rapid.T) {
				for range rapid.IntRange(1, 20).Draw(w.T, "n") {
					w.add()
				}
			},
			"decide": func(*rapid.T) { w.decide(true) },
			"step":   func(*rapid.T) { w.step(any(), true) },
			"wait": func(*rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(w.T, "ms")) * time.Millisecond)
			},
			"full": func(*rapid.T) { w.full(any(), time.Duration(rapid.IntRange(0, 200).Draw(w.T, "itl"))*time.Millisecond) },
			"die": func(*rapid.T) {
				m := any()
				w.lose(m)
				delete(w.workers, m.ID)
				w.again(w.law.RemoveWorker(m.ID))
			},
			"start": func(*rapid.T) {
				id := rapid.SampledFrom(slices.Sorted(maps.Keys(roles))).Draw(w.T, "id")
				w.join(id, roles[id])
			},
			"redeliver": func(*rapid.T) {
				if len(w.running) == 0 {
					w.Skip("nothing")
				}
				w.again([]*schedule.Job{w.running[rapid.SampledFrom(slices.Sorted(maps.Keys(w.running))).Draw(w.T, "key")]})
			},
			"abandon": func(*rapid.T) {
				if len(w.queued) == 0 {
					w.Skip("nothing")
				}
				key := rapid.SampledFrom(slices.Sorted(maps.Keys(w.queued))).Draw(w.T, "key")
				if w.law.Remove(key) == nil {
					w.Fatalf("%s is queued and was not removed", key)
				}
				delete(w.queued, key)
			},
		})
		w.recover(roles)
	})
}

// recover lets everything go well again: all jobs are served and nothing stays in the books.
func (w *world) recover(roles map[string]wire.Role) {
	for id, role := range roles {
		if w.workers[id] == nil {
			w.join(id, role)
		}
	}
	const bound = 40 // seconds, for the lease and the settling; and one for each job
	for range bound + w.jobs {
		w.decide(false)
		w.check(w.T)
		w.now = w.now.Add(time.Second)
		for _, id := range w.names() {
			for range 4 * len(w.workers[id].jobs) {
				w.step(w.workers[id], false)
			}
			w.full(w.workers[id], 20*time.Millisecond)
		}
	}
	w.law.Next(w.now)
	if len(w.queued) > 0 {
		w.Fatalf("%d jobs were never served: %+v", len(w.queued), w.law.Snapshot(w.now))
	}
	for _, b := range w.law.Snapshot(w.now).Workers {
		if b.Prompts != 0 || b.PromptTokens != 0 || b.Decoding != 0 || b.Reserved != 0 || b.Handles != 0 || b.KV != 0 {
			w.Fatalf("something stays in the books: %+v", b)
		}
	}
}
