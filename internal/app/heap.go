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
	heapSlack = 32 << 20
	// crowdedSlack is what it may allocate where heap and stacks of many streams take as much themselves.
	crowdedSlack = 16 << 20
	// heapPercent is the most that GOGC is raised to for it, and leastPercent the least.
	heapPercent, leastPercent = 800, 10
	heapLook                  = 100 * time.Millisecond // a burst may fill what a small heap was allowed many times in a second
)

// PaceHeap has the process collect garbage after heapSlack of allocations or less, or after half of what is live if
// that is more, until ctx ends. It is for programs whose operator has not set GOGC.
func PaceHeap(ctx context.Context) {
	tick := time.NewTicker(heapLook)
	defer tick.Stop()
	is := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	for set := 0; ; {
		metrics.Read(is)
		if percent := percentFor(is[0].Value.Uint64(), is[1].Value.Uint64()+is[2].Value.Uint64()); percent != set {
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

// percentFor is GOGC for so much live heap and so many bytes of roots, in steps: setting it stops the world. Go counts the
// stacks, which are roots, as if they were heap: thousands of waiting streams would double what may lie about.
func percentFor(live, roots uint64) int {
	const step = 10
	percent := heapPercent
	if live+roots > 0 {
		percent = int(min(heapPercent, 100*max(slackBeside(live+roots), live/2)/(live+roots)))
	}
	return max(leastPercent, percent/step*step)
}

// slackBeside falls from heapSlack to crowdedSlack while so much grows from crowdedSlack to twice that.
func slackBeside(taken uint64) uint64 {
	over := min(max(taken, crowdedSlack)-crowdedSlack, crowdedSlack)
	return heapSlack - over*(heapSlack-crowdedSlack)/crowdedSlack
}
