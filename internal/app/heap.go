package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapSlack is what a process may allocate between two garbage collections even if little of it is live: a router's
	// requests leave nothing behind, and a few MiB of live heap would have Go collect dozens of times a second.
	heapSlack = 48 << 20
	// heapPercent is the most that GOGC is raised to for it, and goPercent Go's own default.
	heapPercent, goPercent = 800, 100
	heapLook               = time.Second
)

// PaceHeap has the process collect garbage after heapSlack of allocations, or after as much as is live if that is more,
// until ctx ends. It is for programs whose operator has not set GOGC.
func PaceHeap(ctx context.Context) {
	tick := time.NewTicker(heapLook)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for set := 0; ; {
		metrics.Read(live)
		if percent := percentFor(live[0].Value.Uint64()); percent != set {
			debug.SetGCPercent(percent)
			set = percent
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// percentFor is GOGC for so much live heap, in steps: setting it stops the world.
func percentFor(live uint64) int {
	const step = 50
	percent := heapPercent
	if live > 0 {
		percent = int(min(heapPercent, 100*heapSlack/live))
	}
	return max(goPercent, percent/step*step)
}
