package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

const (
	aboutProcesses = "processes"
	aboutClocks    = "clocks"

	// skewed is a difference of clocks by which waiting times are shown wrongly, and badlySkewed one by which
	// handles are used after their lease, or never: their ends, and deadlines, are moments.
	skewed, badlySkewed = 250 * time.Millisecond, 2 * time.Second
)

// heard is one process that announces itself.
type heard struct {
	wire.Announcement

	ahead time.Duration // of its clock before ours, at the least
}

// processes adds what the processes say of themselves, and returns the engines that they front, by URL.
func processes(ctx context.Context, r *Report, s *Subject, b *bus.Bus, log *slog.Logger) map[string]wire.Role {
	urls := s.urls()
	all, missing, err := listen(ctx, s, b, log)
	if err != nil {
		r.problem(aboutProcesses, err.Error(), "give the user what baton nats permissions prints")
		return urls
	}
	if len(all) == 0 {
		r.problem(aboutProcesses, "no process of baton answers at this NATS server", "start some (baton frontend, baton prefill, baton decode), or look at their nats.url and account")
		return urls
	}
	roles := map[wire.Role]int{}
	for _, p := range all {
		roles[p.Role]++
		state(r, &p.Announcement)
		if p.Engine != "" {
			urls[p.Engine] = p.Able
		}
	}
	var counts []string
	for _, role := range []wire.Role{wire.RoleFrontend, wire.RolePrefill, wire.RoleDecode, wire.RoleBoth} {
		if n := roles[role]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, role))
		}
	}
	r.ok(aboutProcesses, "these answer: "+strings.Join(counts, ", "))
	if roles[wire.RoleFrontend] == 0 {
		r.problem(aboutProcesses, "no frontend answers, so no client is served and nobody places what is queued", "baton frontend --nats "+s.NATS.URL)
	}
	for _, m := range missing {
		r.problem(aboutProcesses, m, "start one, or have another act as such: baton workers, baton role WORKER ROLE")
	}
	versions(r, s, all)
	clocks(r, all)
	return urls
}

// state tells why a worker takes no work.
func state(r *Report, a *wire.Announcement) {
	switch fleet.State(a) {
	case "starting":
		if a.Role != wire.RoleFrontend { // a frontend waits for workers, which are looked at by themselves
			r.warn(aboutProcesses, fmt.Sprintf("%s is not ready: %s", a.ID, a.Why), "look at its engine, "+a.Engine)
		}
	case "held":
		r.warn(aboutProcesses, a.ID+" takes no work, as an operator wanted", "baton undrain "+a.ID)
	}
}

// listen returns who answers a hello, and what keeps requests from being served.
func listen(ctx context.Context, s *Subject, b *bus.Bus, log *slog.Logger) (all []heard, missing []string, err error) {
	var mu sync.Mutex
	known := map[string]heard{}
	asked := time.Now()
	stop, err := b.Subscribe(wire.AnnounceSubject, func(data []byte) {
		var a wire.Announcement
		if json.Unmarshal(data, &a) != nil || a.ID == "" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		p := heard{Announcement: a, ahead: ahead(a.At, asked, time.Now())}
		if was, again := known[a.ID]; again && was.ahead.Abs() < p.ahead.Abs() {
			p.ahead = was.ahead // a late message only looks like a slow clock
		}
		known[a.ID] = p
		if a.Gone {
			delete(known, a.ID)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	defer stop()
	picture := fleet.New(b, s.Fleet, telemetry.Registry(), log)
	listening, cancel := context.WithTimeout(ctx, s.Listen)
	defer cancel()
	if err := picture.Run(listening); err != nil { // it says the hello
		return nil, nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(known)) {
		all = append(all, known[id])
	}
	return all, picture.Missing(), ctx.Err()
}

// ahead is how much a clock that said at is ahead of ours at the least (behind, if negative), when that was
// said between our asked and now.
func ahead(at, asked, now time.Time) time.Duration {
	switch {
	case at.IsZero(): // a version that does not say
		return 0
	case at.After(now):
		return at.Sub(now)
	case at.Before(asked):
		return at.Sub(asked)
	}
	return 0
}

func versions(r *Report, s *Subject, all []heard) {
	by := map[string][]string{s.Version: {"this command"}}
	for _, p := range all {
		by[p.Version] = append(by[p.Version], p.ID)
	}
	if len(by) == 1 {
		r.ok(aboutProcesses, "all have version "+s.Version)
		return
	}
	var said []string
	for _, v := range slices.Sorted(maps.Keys(by)) {
		said = append(said, fmt.Sprintf("%s (%s)", v, strings.Join(by[v], ", ")))
	}
	r.warn(aboutProcesses, "versions are mixed: "+strings.Join(said, "; "), "start the older ones anew, workers first: baton drain WORKER lets one finish what it has")
}

func clocks(r *Report, all []heard) {
	worst := heard{}
	for _, p := range all {
		if p.ahead.Abs() > worst.ahead.Abs() {
			worst = p
		}
		if d := p.ahead.Abs(); d >= skewed {
			say, what := r.warn, "waiting times are shown wrongly by so much"
			if d >= badlySkewed {
				say, what = r.problem, "deadlines and the leases of KV caches end at other times than they say"
			}
			way := "ahead of"
			if p.ahead < 0 {
				way = "behind"
			}
			say(aboutClocks, fmt.Sprintf("the clock of %s is %s %s this machine's: %s", p.ID, d.Round(100*time.Millisecond), way, what), "keep the clocks of all machines with NTP (chronyc tracking, timedatectl)")
		}
	}
	if worst.ahead.Abs() < skewed {
		r.ok(aboutClocks, fmt.Sprintf("those of %d processes agree with this machine's to %s", len(all), short(skewed)))
	}
}
