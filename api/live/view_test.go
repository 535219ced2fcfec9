package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/baton-llm/baton/api/live"
	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/schedule"
	"github.com/baton-llm/baton/router/series"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a View works with outside of tests.
var (
	_ live.Router = (*router.Router)(nil)
	_ live.Fleet  = (*fleet.Fleet)(nil)
	_ live.Queue  = (*bus.Queue[wire.DecodeJob])(nil)
)

type fakeRouter struct {
	active, past []router.Info
	figures      *series.Series
}

func (f *fakeRouter) Requests() []router.Info  { return f.active }
func (f *fakeRouter) Past(n int) []router.Info { return f.past[:min(n, len(f.past))] }
func (f *fakeRouter) Figures() *series.Series  { return f.figures }
func (f *fakeRouter) Cancel(string) bool       { return false }

type fakeFleet struct {
	members  []fleet.Member
	departed []fleet.Departed
}

func (f *fakeFleet) Members() []fleet.Member             { return f.members }
func (f *fakeFleet) Departed(time.Time) []fleet.Departed { return f.departed }
func (f *fakeFleet) Models() []wire.Model                { return []wire.Model{{ID: "m"}} }
func (f *fakeFleet) Missing() []string                   { return nil }

type fakeQueue struct {
	subjects map[string]uint64
	err      error
	asked    atomic.Int32
}

func (f *fakeQueue) Detail(context.Context) (d bus.Depth, subjects map[string]uint64, err error) {
	f.asked.Add(1)
	for _, n := range f.subjects {
		d.Messages += n
	}
	d.Oldest = 7 * time.Second
	return d, f.subjects, f.err
}

func (f *fakeQueue) Limits() (jobs, bytes int64) { return 100, 1000 }

// deployment is one of two workers in the middle of some requests.
func deployment(now time.Time) (live.Deps, *fakeQueue) {
	member := func(id string, role wire.Role, change func(*wire.Announcement)) fleet.Member {
		a := wire.Announcement{ID: id, Role: role, Interval: time.Second, Started: now.Add(-time.Minute), Ready: true, Engine: "http://gpu:8100"}
		if role != wire.RoleFrontend {
			a.Models = []wire.Model{{ID: "m"}}
		}
		if change != nil {
			change(&a)
		}
		return fleet.Member{Announcement: a, Heard: now.Add(-200 * time.Millisecond)}
	}
	mute := member("decode-cc", wire.RoleDecode, nil)
	mute.Heard = now.Add(-3 * time.Second)
	prefill := &fakeQueue{subjects: map[string]uint64{wire.PrefillSubject("m", wire.Standard): 3, wire.PrefillSubject("other", wire.Standard): 1, wire.PrefillSubject("m", wire.Batch): 2}}
	request := func(id string, class wire.Class, state router.State, age time.Duration) router.Info {
		return router.Info{
			ID: id, Model: "m", Tenant: "acme", Class: class, State: state, Admitted: now.Add(-age), Since: now.Add(-age), Attempt: 1,
			Steps: []router.Step{{State: router.Queued, Attempt: 1, At: now.Add(-age)}},
		}
	}
	lent := request("r3", wire.Standard, router.Decoding, time.Second)
	lent.Worker, lent.Sent, lent.Timing = "decode-bb", 5, router.Timing{Whole: true, Place: "whole", Why: "lend", DecodeWorker: "decode-bb", Queue: 100 * time.Millisecond}
	done := request("r0", wire.Standard, router.Done, 4*time.Second)
	done.Since, done.Last, done.Usage.CompletionTokens = now, now, 11
	done.Timing = router.Timing{FirstToken: 3 * time.Second, Place: "split", Why: "split", PromptTokens: 70}
	figures := series.New(series.Aim{})
	figures.End(&series.Ended{Done: true, TTFT: time.Second, CompletionTokens: 60}, now)
	return live.Deps{
		Router: &fakeRouter{
			active: []router.Info{
				request("r1", wire.Standard, router.Queued, 9*time.Second), request("r2", wire.Standard, router.Queued, 5*time.Second),
				lent, request("r4", wire.Batch, router.Handed, 2*time.Second),
			},
			past: []router.Info{done}, figures: figures,
		},
		Fleet: &fakeFleet{
			members: []fleet.Member{
				member("decode-bb", wire.RoleDecode, func(a *wire.Announcement) {
					a.Able, a.Load = wire.RoleBoth, wire.Load{Running: 4, Slots: 8, Tokens: 100, Capacity: 1000}
				}),
				mute,
				member("frontend-aa", wire.RoleFrontend, nil),
				member("prefill-dd", wire.RolePrefill, func(a *wire.Announcement) { a.Ready, a.Models = false, nil }),
			},
			departed: []fleet.Departed{{Member: member("prefill-ee", wire.RolePrefill, nil), Gone: now.Add(-30 * time.Second), Why: fleet.Silent}},
		},
		Books: func() map[string]*schedule.Snapshot {
			return map[string]*schedule.Snapshot{"m": {
				Queued: 2, Waiting: map[string]int{"kv": 2},
				Workers: []schedule.WorkerBooks{{ID: "decode-bb", Decoding: 3, Prompts: 1, PromptTokens: 50, KV: 250, ITL: 20 * time.Millisecond}},
			}}
		},
		Prefill: prefill,
		Decode:  &fakeQueue{subjects: map[string]uint64{wire.DecodeSubject("m", "decode-bb"): 1}},
	}, prefill
}

func view(now time.Time) *live.State {
	deps, _ := deployment(now)
	return live.New(live.About{ID: "frontend-aa", Version: "v1", Begun: now, Policy: schedule.DefaultConfig(), MaxInFlight: 9}, deps).State(context.Background())
}

func TestWorkersAreShownWithAllThatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := view(time.Now())
		if len(s.Workers) != 3 || len(s.Frontends) != 1 {
			t.Fatalf("%d workers and %d frontends, want 3 and 1", len(s.Workers), len(s.Frontends))
		}
		want := live.Worker{
			Process: live.Process{ID: "decode-bb", Name: "decode", Serial: "bb", UptimeSeconds: 60, LastHeardSeconds: 0.2, Ready: true, State: "ready"},
			Role:    wire.RoleDecode, Able: wire.RoleBoth, Stages: []string{"prefill", "decode", "whole"}, EngineURL: "http://gpu:8100", Models: []string{"m"},
			RunningRequests: 4, MaxRequests: 8, KVUsedTokens: 250, KVCapacityTokens: 1000, KVShare: 0.25,
			WaitingRequests: 1, WaitingPromptTokens: 50, DecodingRequests: 3, DecodeQueueJobs: 1, TPOTSeconds: 0.02, WholeRequests: map[string]int{"lend": 1},
		}
		if diff := cmp.Diff(want, s.Workers[0]); diff != "" {
			t.Error(diff)
		}
		if w := s.Workers[1]; w.State != "silent" || !strings.Contains(w.Reason, "3 s ago") {
			t.Errorf("a worker that has not spoken is %s: %s", w.State, w.Reason)
		}
		if w := s.Workers[2]; w.State != "starting" || w.Ready || !strings.Contains(w.Reason, "engine") {
			t.Errorf("a worker without an engine is %s: %s", w.State, w.Reason)
		}
		if len(s.Departed) != 1 || s.Departed[0].AgoSeconds != 30 || s.Departed[0].Why != fleet.Silent {
			t.Errorf("departed are %+v", s.Departed)
		}
	})
}

func TestQueuesAreShownByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := view(time.Now()).Queues
		if q.Prefill.Jobs != 6 || q.Prefill.MaxJobs != 100 || q.Prefill.OldestJobSeconds != 7 || q.Prefill.HeldJobs != 2 || q.Prefill.WaitingFor["kv"] != 2 {
			t.Errorf("the prefill queue is %+v", q.Prefill)
		}
		standard, batch := q.Prefill.Classes[wire.Standard], q.Prefill.Classes[wire.Batch]
		if *standard.Jobs != 4 || standard.Requests != 2 || standard.OldestSeconds != 9 || *batch.Jobs != 2 || batch.Requests != 0 {
			t.Errorf("its classes are %+v", q.Prefill.Classes)
		}
		if d := q.Decode.Classes[wire.Batch]; d.Jobs != nil || d.Requests != 1 || d.OldestSeconds != 2 {
			t.Errorf("the decode queue's classes are %+v", q.Decode.Classes)
		}
	})
}

func TestRequestsAreShownWithTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := view(time.Now())
		r := s.Requests
		if r.InFlight != 4 || r.MaxInFlight != 9 || len(r.Active) != 4 || r.ActiveLeftOff != 0 {
			t.Errorf("requests are %+v", r)
		}
		if a := r.Active[2]; a.State != "decoding" || a.Path != "whole" || a.Why != "lend" || a.QueueSeconds != 0.1 || a.SentTokens != 5 || a.TotalSeconds != 1 {
			t.Errorf("one that decodes is %+v", a)
		}
		if f := r.Finished[0]; f.State != "done" || f.TotalSeconds != 4 || f.TTFTSeconds != 3 || f.TPOTSeconds != 0.1 || f.CompletionTokens != 11 || len(f.Steps) != 1 {
			t.Errorf("one that is done is %+v", f)
		}
		if m := s.LastMinute; m.Done != 1 || m.CompletionTokensPerSecond != 1 || m.Goodput == nil || *m.Goodput != 1 || m.TPOTp50Seconds != nil {
			t.Errorf("the last minute is %+v", m)
		}
		if n := len(s.Series.DonePerSecond); n != series.Points || len(s.Series.TTFTp99Seconds) != n {
			t.Errorf("the series have %d points", n)
		}
	})
}

func TestABurstIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps, _ := deployment(time.Now())
		many := make([]router.Info, 5000)
		deps.Router = &fakeRouter{active: many, figures: series.New(series.Aim{})}
		s := live.New(live.About{}, deps).State(t.Context())
		if s.Requests.InFlight != 5000 || len(s.Requests.Active)+s.Requests.ActiveLeftOff != 5000 || len(s.Requests.Active) > 1000 {
			t.Errorf("%d of %d are shown, %d left off", len(s.Requests.Active), s.Requests.InFlight, s.Requests.ActiveLeftOff)
		}
	})
}

func TestAllWhoLookShareAPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps, queue := deployment(time.Now())
		v := live.New(live.About{}, deps)
		for range 10 {
			if _, err := v.Text(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := queue.asked.Load(); n != 1 {
			t.Errorf("the queue was asked %d times, want once", n)
		}
		time.Sleep(time.Second)
		text, err := v.Text(t.Context())
		var s live.State
		if err != nil || json.Unmarshal(text, &s) != nil || !s.Now.Equal(time.Now()) {
			t.Errorf("a second later it is of %v, now is %v", s.Now, time.Now())
		}
	})
}

func TestWithoutTheServerTheRestIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps, queue := deployment(time.Now())
		queue.subjects, queue.err = nil, errors.New("nats: no servers at secret-host")
		s := live.New(live.About{}, deps).State(t.Context())
		if q := s.Queues.Prefill; q.Error == "" || strings.Contains(q.Error, "secret-host") || q.Jobs != 0 || q.Classes[wire.Standard].Jobs != nil || q.Classes[wire.Standard].Requests != 2 {
			t.Errorf("the queue is %+v", q)
		}
		if len(s.Workers) != 3 {
			t.Errorf("%d workers are shown", len(s.Workers))
		}
	})
}

// Scripts of operators read the document: its null and empty values are part of it.
func TestNothingIsNullThatIsAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps := live.Deps{
			Router: &fakeRouter{figures: series.New(series.Aim{})}, Fleet: &fakeFleet{}, Books: func() map[string]*schedule.Snapshot { return nil },
			Prefill: &fakeQueue{}, Decode: &fakeQueue{},
		}
		text, err := live.New(live.About{}, deps).Text(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range []string{"missing", "workers", "frontends", "departed", "active", "finished", "models"} {
			if strings.Contains(string(text), `"`+list+`":null`) {
				t.Errorf("%s is null", list)
			}
		}
	})
}
