package app

import (
	"context"
	"math"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	coresLook = 20 * time.Millisecond // a burst waits for no longer until it has more processors
	// lateAfter is how long a goroutine may wait until it runs, and lateShare how many may wait longer: little beside the time
	// between two tokens.
	lateAfter, lateShare = 2 * time.Millisecond, 0.05
	// fitting is how much of its processors a process may use and still be quick.
	fitting = 0.9
	// calmFirst is how long less must have been enough for, and calmMost what it grows to while less is not lasting.
	calmFirst, calmMost, lasting = 100 * time.Millisecond, 5 * time.Second, time.Second
)

// PaceCores gives the process as many processors (GOMAXPROCS) as it takes for its goroutines not to wait, until ctx ends.
// A request goes through dozens of goroutines one after the other, and for each of them Go wakes a thread that looks for
// more work if a processor is idle: at low load that is a fifth of all processor time, and a third of the time
// until the first token. It is for programs whose operator has not set GOMAXPROCS; where there is one
// processor, or the system does not say what the process uses, it does nothing.
func PaceCores(ctx context.Context) {
	pace := corePace{most: runtime.GOMAXPROCS(0), calm: calmFirst}
	last, ok := processorTime()
	if !ok || pace.most == 1 {
		return
	}
	tick := time.NewTicker(coresLook)
	defer tick.Stop()
	var waits runWaits
	for at := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, late := runtime.GOMAXPROCS(0), waits.look()
		taken, _ := processorTime()
		passed := time.Since(at)
		want := pace.next(now, (taken-last).Seconds()/passed.Seconds(), late, passed)
		last, at = taken, at.Add(passed)
		switch {
		case want == now:
		case want < pace.most:
			runtime.GOMAXPROCS(want)
		default: // all that there are, which may be others than at the start
			runtime.SetDefaultGOMAXPROCS()
			pace.most = runtime.GOMAXPROCS(0)
		}
	}
}

// corePace decides how many processors a process has.
type corePace struct {
	most int           // at least 1
	calm time.Duration // how long less must be enough for until it is less

	enough time.Duration // less would have been, for so long
	tried  bool          // the last change was to less
	since  time.Duration // that change
}

// next is how many of now processors there are to be. used is how many of them were busy for the time passed, and late tells whether
// goroutines waited in it.
func (p *corePace) next(now int, used float64, late bool, passed time.Duration) int {
	p.since += passed
	if late && now < p.most {
		switch {
		case !p.tried:
		case p.since < lasting:
			p.calm = min(2*p.calm, calmMost)
		default:
			p.calm = calmFirst
		}
		p.enough, p.tried = 0, false
		return min(2*now, p.most)
	}
	less := max(1, int(math.Ceil(used/fitting)))
	if less >= now || late {
		p.enough = 0
		return now
	}
	if p.enough += passed; p.enough < p.calm {
		return now
	}
	p.enough, p.since, p.tried = 0, 0, true
	return max(less, now/2)
}

// runWaits tells from Go's histogram of times from runnable to running whether many were long.
type runWaits struct {
	is  [1]metrics.Sample
	was []uint64
}

// look is about the time since the last one.
func (w *runWaits) look() (late bool) {
	w.is[0].Name = "/sched/latencies:seconds"
	metrics.Read(w.is[:])
	h := w.is[0].Value.Float64Histogram()
	if w.was == nil {
		w.was = make([]uint64, len(h.Counts))
	}
	var all, long uint64
	for i, n := range h.Counts {
		came := n - w.was[i]
		w.was[i] = n
		if all += came; h.Buckets[i] >= lateAfter.Seconds() {
			long += came
		}
	}
	return long > 1 && float64(long) > lateShare*float64(all)
}
