package schedule

import (
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// WorkerBooks is what the books say of one worker. Lengths are in tokens.
type WorkerBooks struct {
	ID           string
	Role         wire.Role
	Prompts      int // without a first token
	PromptTokens int // of them, to compute
	Decoding     int // answers that produce tokens
	Reserved     int // that will come from prefill workers
	Handles      int // KV caches that wait for their readers
	KV           int // tokens of KV cache that are committed; what jobs share counts once
	Capacity     int
	ITL          time.Duration // between tokens of one answer, as it said last
	Held         bool          // gets no long prompt: answers are slower than promised
}

// Snapshot is the state of a scheduler, for people and metrics.
type Snapshot struct {
	Queued  int
	Waiting map[string]int // jobs that the last Next looked at and could not place, by each of the reasons there are
	Workers []WorkerBooks  // by name
}

// Snapshot copies the books.
func (s *Scheduler) Snapshot(now time.Time) Snapshot {
	out := Snapshot{Queued: s.Queued(), Waiting: map[string]int{}}
	for _, reason := range waitReasons {
		out.Waiting[reason] = s.waits[reason]
	}
	for _, w := range s.byID {
		out.Workers = append(out.Workers, WorkerBooks{
			ID: w.ID, Role: w.Role, Prompts: w.longs + w.shorts, PromptTokens: w.longTokens + w.shortTokens, Decoding: w.decoding,
			Reserved: w.reserved, Handles: w.handles, KV: w.used(), Capacity: w.Capacity, ITL: w.itl, Held: now.Before(w.heldUntil),
		})
	}
	return out
}
