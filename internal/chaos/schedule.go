package chaos

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a fault, named by what it hits and how.
type Kind string

// The faults. A part that is killed, or ends when it is asked to, is started again.
const (
	FrontendKill   Kind = "frontend.kill"   // SIGKILL
	FrontendDrain  Kind = "frontend.drain"  // SIGTERM
	FrontendStop   Kind = "frontend.stop"   // SIGSTOP, later SIGCONT
	WorkerKill     Kind = "worker.kill"     // likewise
	WorkerDrain    Kind = "worker.drain"    // likewise
	WorkerStop     Kind = "worker.stop"     // likewise
	EngineKill     Kind = "engine.kill"     // likewise
	EngineDrain    Kind = "engine.drain"    // likewise
	EngineStop     Kind = "engine.stop"     // likewise
	EngineCrash    Kind = "engine.crash"    // all that runs in it ends, and it drops every connection
	EngineHang     Kind = "engine.hang"     // it answers, and computes nothing
	EngineErrors   Kind = "engine.errors"   // every second request gets a 500
	EngineGarbage  Kind = "engine.garbage"  // answers are no JSON
	EngineSlow     Kind = "engine.slow"     // every step takes ten times as long
	EngineCut      Kind = "engine.cut"      // connections of streams drop after five tokens
	EngineTransfer Kind = "engine.transfer" // its KV caches cannot be read
	NATSKill       Kind = "nats.kill"       // likewise
	NATSDrain      Kind = "nats.drain"      // likewise
	NATSStop       Kind = "nats.stop"       // likewise
)

// kinds is how long each fault lasts, at the least and at the most; of a kill, how long the part is away.
var kinds = map[Kind]struct{ least, most time.Duration }{
	FrontendKill: {200 * time.Millisecond, 3 * time.Second}, FrontendDrain: {200 * time.Millisecond, time.Second}, FrontendStop: {200 * time.Millisecond, 8 * time.Second},
	WorkerKill: {200 * time.Millisecond, 5 * time.Second}, WorkerDrain: {200 * time.Millisecond, time.Second}, WorkerStop: {200 * time.Millisecond, 8 * time.Second},
	EngineKill: {200 * time.Millisecond, 5 * time.Second}, EngineDrain: {200 * time.Millisecond, time.Second}, EngineStop: {200 * time.Millisecond, 8 * time.Second},
	EngineCrash: {time.Second, 5 * time.Second}, EngineHang: {200 * time.Millisecond, 6 * time.Second},
	EngineErrors: {time.Second, 4 * time.Second}, EngineGarbage: {time.Second, 4 * time.Second}, EngineSlow: {time.Second, 5 * time.Second},
	EngineCut: {time.Second, 3 * time.Second}, EngineTransfer: {time.Second, 4 * time.Second},
	NATSKill: {100 * time.Millisecond, 4 * time.Second}, NATSDrain: {100 * time.Millisecond, time.Second}, NATSStop: {200 * time.Millisecond, 6 * time.Second},
}

func kindNames() string {
	var names []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// Fault is one fault of a run.
type Fault struct {
	Kind Kind          `json:"kind"`
	Part string        `json:"part"` // that it hits
	At   time.Duration `json:"at"`   // since the first request
	For  time.Duration `json:"for"`
}

const (
	quietStart = 2 * time.Second // before the first fault
	// settling is how long a part that comes back does not count as one that works.
	settling = 3 * time.Second
	// natsSettling is the same of the NATS server, which has no spare: what was on its way when it ended comes again after
	// seconds, and would never if it ended again by then each time.
	natsSettling = 6 * time.Second
)

// unit is what can be broken without breaking the promise's condition, as long as another unit of its group works.
type unit struct {
	group string
	parts map[string]string // by what kinds begin with
	busy  time.Duration     // until then it is broken or comes back
}

// names are the parts of a unit, a worker before its engine.
func (u *unit) names() (parts []string) {
	for _, what := range []string{"worker", "engine", "frontend", "nats"} {
		if name := u.parts[what]; name != "" {
			parts = append(parts, name)
		}
	}
	return parts
}

// units are those of the deployment: a worker and its engine are one.
func (c *Config) units() []*unit {
	var all []*unit
	for _, name := range names("frontend", c.Frontends) {
		all = append(all, &unit{group: "frontend", parts: map[string]string{"frontend": name}})
	}
	for role, n := range map[string]int{"prefill": c.Prefill, "decode": c.Decode} {
		for _, name := range names(role, n) {
			all = append(all, &unit{group: role, parts: map[string]string{"worker": name, "engine": engineOf(name)}})
		}
	}
	slices.SortFunc(all, func(a, b *unit) int { return strings.Compare(a.group+a.parts["worker"], b.group+b.parts["worker"]) })
	return append(all, &unit{group: "nats", parts: map[string]string{"nats": "nats"}})
}

// plan draws the faults of a run. Of each group but nats, one unit always works.
func plan(c *Config) []Fault {
	rng := rand.New(rand.NewPCG(c.Seed, 0)) //nolint:gosec // Repeatable on purpose.
	units := c.units()
	wanted := slices.Sorted(maps.Keys(kinds))
	if len(c.Faults) > 0 {
		wanted = c.Faults
	}
	var faults []Fault
	for at := quietStart; at < c.Duration; at += time.Duration(rng.ExpFloat64() * float64(c.Every)).Round(time.Millisecond) {
		kind := wanted[rng.IntN(len(wanted))]
		bounds := kinds[kind]
		lasts := (bounds.least + time.Duration(rng.Int64N(int64(bounds.most-bounds.least)))).Round(time.Millisecond)
		what, _, _ := strings.Cut(string(kind), ".")
		var free []*unit
		for _, u := range units {
			if u.parts[what] != "" && at >= u.busy && spare(units, u, at) {
				free = append(free, u)
			}
		}
		if len(free) == 0 {
			continue
		}
		u := free[rng.IntN(len(free))]
		u.busy = at + lasts + settlingOf(u.group)
		faults = append(faults, Fault{Kind: kind, Part: u.parts[what], At: at, For: lasts})
	}
	return faults
}

// settlingOf is how long a unit of a group does not count as one that works when it has come back.
func settlingOf(group string) time.Duration {
	if group == "nats" {
		return natsSettling
	}
	return settling
}

// spare tells whether another unit of u's group works; the NATS server is alone and comes back.
func spare(units []*unit, u *unit, at time.Duration) bool {
	return u.group == "nats" || slices.ContainsFunc(units, func(other *unit) bool {
		return other != u && other.group == u.group && at >= other.busy
	})
}
