package fleet

import (
	"cmp"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Member is a live process.
type Member struct {
	wire.Announcement

	Heard time.Time // by our own clock: when it announced itself last
}

// Why says how a process went.
type Why string

// The ways to go.
const (
	Left     Why = "left"     // it said so
	Silent   Why = "silent"   // it counts as dead
	Replaced Why = "replaced" // a new process has its name
)

// Departed is a process that is gone.
type Departed struct {
	Member

	Gone time.Time
	Why  Why
}

const (
	keptDeparted = 64
	departedFor  = 10 * time.Minute // and no longer
)

// depart remembers a process that goes. It needs the lock.
func (f *Fleet) depart(p *process, why Why) {
	if len(f.departed) == keptDeparted {
		f.departed = slices.Delete(f.departed, 0, 1)
	}
	f.departed = append(f.departed, Departed{Member{p.said, p.spoke}, time.Now(), why})
}

// Departed returns the processes that went in the last minutes, the last one first.
func (f *Fleet) Departed(now time.Time) []Departed {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(f.departed), func(d Departed) bool { return now.Sub(d.Gone) > departedFor })
	slices.Reverse(out)
	return out
}

// Members returns every live process and when it was heard, by name.
func (f *Fleet) Members() []Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Member, 0, len(f.processes))
	for _, p := range f.processes {
		out = append(out, Member{p.said, p.spoke})
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Workers returns what every live process said last, by name.
func (f *Fleet) Workers() []wire.Announcement {
	members := f.Members()
	out := make([]wire.Announcement, len(members))
	for i := range members {
		out[i] = members[i].Announcement
	}
	return out
}
