package fleet_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is an in-memory Transport.
type hub struct {
	mu   sync.Mutex
	subs map[int]func(string, []byte)
	n    int
}

func (h *hub) Publish(subject string, data []byte) error {
	h.mu.Lock()
	var subs []func(string, []byte)
	for _, s := range h.subs {
		subs = append(subs, s)
	}
	h.mu.Unlock()
	for _, s := range subs {
		s(subject, data)
	}
	return nil
}

func (h *hub) Subscribe(subject string, handle func([]byte)) (func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[int]func(string, []byte){}
	}
	h.n++
	id := h.n
	h.subs[id] = func(s string, d []byte) {
		if s == subject {
			handle(d)
		}
	}
	return func() { h.mu.Lock(); delete(h.subs, id); h.mu.Unlock() }, nil
}

func (h *hub) say(t *testing.T, a wire.Announcement) {
	t.Helper()
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Publish(wire.AnnounceSubject, data)
}

func worker(id string, role wire.Role, models ...string) wire.Announcement {
	a := wire.Announcement{ID: id, Role: role, Interval: time.Second, Ready: true, Started: time.Unix(1, 0)}
	for _, m := range models {
		a.Models = append(a.Models, wire.Model{ID: m})
	}
	return a
}

func start(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func newFleet(h *hub, reg prometheus.Registerer) *fleet.Fleet {
	return fleet.New(h, fleet.DefaultConfig(), reg, slog.New(slog.DiscardHandler))
}

func TestNewcomerKnowsEveryoneAtOnceAndSeesThemLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		stopA := start(t, fleet.NewAnnouncer(h, time.Second, func() wire.Announcement { return worker("d1", wire.RoleDecode, "m") }, slog.New(slog.DiscardHandler)).Run)
		f := newFleet(h, nil)
		var gone []string
		f.OnGone(func(id string) { gone = append(gone, id) })
		stop := start(t, f.Run)
		defer stop()
		if !f.Alive("d1") {
			t.Fatal("the newcomer does not know d1 before an interval is over")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !f.Alive("d1") {
			t.Error("a process that announces itself was forgotten")
		}
		stopA()
		synctest.Wait()
		if f.Alive("d1") || !slices.Equal(gone, []string{"d1"}) {
			t.Errorf("after the last word: alive=%v gone=%v", f.Alive("d1"), gone)
		}
	})
}

func TestSilentProcessDiesASecondAfterThreeOfItsOwnIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		reg := prometheus.NewRegistry()
		f := newFleet(h, reg)
		var gone []string
		f.OnGone(func(id string) { gone = append(gone, id) })
		stop := start(t, f.Run)
		defer stop()
		slow := worker("slow", wire.RolePrefill, "m")
		slow.Interval = 4 * time.Second
		h.say(t, slow)
		h.say(t, worker("fast", wire.RoleDecode, "m"))
		time.Sleep(3900 * time.Millisecond)
		if !f.Alive("fast") {
			t.Error("fast was forgotten early")
		}
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		if f.Alive("fast") || !f.Alive("slow") || !slices.Equal(gone, []string{"fast"}) {
			t.Errorf("fast=%v slow=%v gone=%v", f.Alive("fast"), f.Alive("slow"), gone)
		}
		want := `
# HELP baton_fleet_workers Live processes by role and state (ready, starting, leaving, held).
# TYPE baton_fleet_workers gauge
baton_fleet_workers{role="both",state="held"} 0
baton_fleet_workers{role="both",state="leaving"} 0
baton_fleet_workers{role="both",state="ready"} 0
baton_fleet_workers{role="both",state="starting"} 0
baton_fleet_workers{role="decode",state="held"} 0
baton_fleet_workers{role="decode",state="leaving"} 0
baton_fleet_workers{role="decode",state="ready"} 0
baton_fleet_workers{role="decode",state="starting"} 0
baton_fleet_workers{role="frontend",state="held"} 0
baton_fleet_workers{role="frontend",state="leaving"} 0
baton_fleet_workers{role="frontend",state="ready"} 0
baton_fleet_workers{role="frontend",state="starting"} 0
baton_fleet_workers{role="prefill",state="held"} 0
baton_fleet_workers{role="prefill",state="leaving"} 0
baton_fleet_workers{role="prefill",state="ready"} 1
baton_fleet_workers{role="prefill",state="starting"} 0
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "baton_fleet_workers"); err != nil {
			t.Error(err)
		}
	})
}

// The listener itself stands still for ten seconds (a callback that hangs stands for a machine
// that gives it no CPU): nobody may die by that.
func TestOwnStarvationKillsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		f := newFleet(h, nil)
		var gone []string
		f.OnGone(func(id string) { gone = append(gone, id); time.Sleep(10 * time.Second) })
		stop := start(t, f.Run)
		defer stop()
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		h.say(t, worker("d2", wire.RoleDecode, "m"))
		bye := worker("d2", wire.RoleDecode)
		bye.Gone = true
		h.say(t, bye)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if !f.Alive("d1") {
			t.Error("d1 died while the fleet could not listen")
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if f.Alive("d1") {
			t.Error("d1 is silent and still alive")
		}
	})
}

// A worker on a busy machine announces itself late, but answers when it is asked.
func TestWhoAnswersAHelloLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		f := newFleet(h, nil)
		defer start(t, f.Run)()
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		stop, err := h.Subscribe(wire.HelloSubject, func([]byte) {
			time.AfterFunc(900*time.Millisecond, func() { h.say(t, worker("d1", wire.RoleDecode, "m")) })
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(time.Second)
			if !f.Alive("d1") {
				t.Fatal("d1 answers hellos and counts as dead")
			}
		}
		stop()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if f.Alive("d1") {
			t.Error("d1 is silent and still alive")
		}
	})
}

// cut is a hub whose messages wait while held is set.
type cut struct {
	hub

	held bool
	late [][2]string
}

func (c *cut) Publish(subject string, data []byte) error {
	c.mu.Lock()
	held := c.held
	if held {
		c.late = append(c.late, [2]string{subject, string(data)})
	}
	c.mu.Unlock()
	if held {
		return nil
	}
	return c.hub.Publish(subject, data)
}

// hold begins to hold messages back, or lets them go and returns those that were held.
func (c *cut) hold(held bool) [][2]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = held
	return c.late
}

// Who is cut off from the others hears nobody, and nobody is dead by that: neither meanwhile nor when what they said
// comes at last.
func TestWhoIsCutOffBuriesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &cut{}
		f := fleet.New(h, fleet.DefaultConfig(), nil, slog.New(slog.DiscardHandler))
		defer start(t, f.Run)()
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		h.say(t, worker("d2", wire.RoleDecode, "m"))
		h.hold(true)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if !f.Alive("d1") || !f.Alive("d2") {
			t.Fatal("somebody died while nothing could be heard")
		}
		for _, m := range h.hold(false) {
			_ = h.Publish(m[0], []byte(m[1]))
		}
		time.Sleep(500 * time.Millisecond)
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !f.Alive("d1") || f.Alive("d2") {
			t.Errorf("afterwards d1, who speaks, is alive: %t; d2, who does not: %t", f.Alive("d1"), f.Alive("d2"))
		}
	})
}

func TestModelOutlivesItsWorkersForTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		f := newFleet(h, nil)
		stop := start(t, f.Run)
		defer stop()
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		if s, ok := f.Model("m"); !ok || s != (fleet.Status{Decode: 1}) {
			t.Errorf("Model = %v %v", s, ok)
		}
		time.Sleep(9 * time.Minute)
		if s, ok := f.Model("m"); !ok || s != (fleet.Status{}) || len(f.Models()) != 1 {
			t.Errorf("within the grace: Model = %v %v", s, ok)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, ok := f.Model("m"); ok || len(f.Models()) != 0 {
			t.Error("the model is known after its grace")
		}
	})
}

func TestMissingSaysWhatToStart(t *testing.T) {
	starting, leaving := worker("p1", wire.RolePrefill), worker("d1", wire.RoleDecode, "m")
	starting.Ready, leaving.Leaving = false, true
	p, d := worker("p", wire.RolePrefill, "m"), worker("d", wire.RoleDecode, "m")
	tests := map[string]struct {
		said []wire.Announcement
		want []string
	}{
		"nobody":           {nil, []string{"no worker has announced itself"}},
		"only a frontend":  {[]wire.Announcement{worker("f", wire.RoleFrontend)}, []string{"no worker has announced itself"}},
		"starting":         {[]wire.Announcement{starting}, []string{"no worker's engine is ready"}},
		"no decode":        {[]wire.Announcement{p}, []string{"no decode worker for model m"}},
		"no prefill":       {[]wire.Announcement{d}, []string{"no prefill worker for model m"}},
		"decode leaves":    {[]wire.Announcement{p, leaving}, []string{"no decode worker for model m"}},
		"complete":         {[]wire.Announcement{p, d}, nil},
		"one that is both": {[]wire.Announcement{worker("b", wire.RoleBoth, "m")}, nil},
		"both and prefill": {[]wire.Announcement{worker("b", wire.RoleBoth, "m"), p}, nil},
		"other":            {[]wire.Announcement{p, d, worker("x", wire.RoleDecode, "n")}, []string{"no prefill worker for model n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hub{}
				f := newFleet(h, nil)
				stop := start(t, f.Run)
				defer stop()
				for _, a := range test.said {
					h.say(t, a)
				}
				if d := cmp.Diff(test.want, f.Missing()); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestRestartUnderTheSameNameIsADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		f := newFleet(h, nil)
		var gone []string
		f.OnGone(func(id string) { gone = append(gone, id) })
		stop := start(t, f.Run)
		defer stop()
		old, young := worker("d1", wire.RoleDecode, "m"), worker("d1", wire.RoleDecode, "m")
		young.Started = old.Started.Add(time.Hour)
		old.Engine = "old"
		for _, a := range []wire.Announcement{old, young, old} {
			h.say(t, a)
		}
		synctest.Wait()
		if !slices.Equal(gone, []string{"d1"}) || f.Workers()[0].Engine != "" {
			t.Errorf("gone=%v workers=%+v", gone, f.Workers())
		}
	})
}
