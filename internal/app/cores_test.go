package app

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// wants feeds the pace what one look after the other sees, for so long, and returns how often it changed.
func (p *corePace) wants(now *int, d time.Duration, sees func(now int) (used float64, late bool)) (changes int) {
	for ; d > 0; d -= coresLook {
		used, late := sees(*now)
		if want := p.next(*now, used, late, coresLook); want != *now {
			*now, changes = want, changes+1
		}
	}
	return changes
}

func TestPaceOfTheCores(t *testing.T) {
	pace, now := corePace{most: 12, calm: calmFirst}, 12
	idle := func(int) (float64, bool) { return 0.2, false }
	if pace.wants(&now, time.Second, idle); now != 1 {
		t.Errorf("a process with little to do has %d processors after a second, want 1", now)
	}
	if pace.wants(&now, 4*coresLook, func(now int) (float64, bool) { return float64(now), true }); now != 12 {
		t.Errorf("a process whose goroutines wait has %d processors after four looks, want all 12", now)
	}
	if pace.wants(&now, time.Second, func(now int) (float64, bool) { return 3, false }); now != 4 {
		t.Errorf("a process that uses 3 processors has %d after a second, want 4", now)
	}
	if pace.wants(&now, time.Second, func(now int) (float64, bool) { return 3.8, false }); now != 4 {
		t.Errorf("a process that uses nearly all of its 4 processors has %d, want 4", now)
	}
}

// A load that needs two processors but uses one in all is not disturbed again and again.
func TestPaceOfTheCoresSettles(t *testing.T) {
	pace, now := corePace{most: 2, calm: calmFirst}, 2
	bursts := func(now int) (float64, bool) { return 0.8, now == 1 }
	pace.wants(&now, 20*time.Second, bursts)
	if n := pace.wants(&now, time.Minute, bursts); n > 2*12 {
		t.Errorf("in a minute the number of processors changed %d times, want twice each five seconds or less", n)
	}
	little := func(int) (float64, bool) { return 0.3, false }
	pace.wants(&now, 10*time.Second, little)
	pace.wants(&now, coresLook, bursts)
	if pace.wants(&now, calmFirst, little); now != 1 {
		t.Errorf("soon after a single burst there are %d processors, want 1", now)
	}
}

// Goroutines that find the processor taken are noticed, and those that run at once are not.
func TestWaitsForAProcessorAreSeen(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var waits runWaits
	waits.look()
	run := func(n int, work time.Duration) {
		var g sync.WaitGroup
		for range n {
			g.Go(func() {
				for begun := time.Now(); time.Since(begun) < work; {
				}
			})
		}
		g.Wait()
	}
	run(200, time.Millisecond)
	if !waits.look() {
		t.Error("200 goroutines that had one processor for a millisecond each did not wait")
	}
	for range 1000 {
		run(1, 0)
	}
	if waits.look() {
		t.Error("goroutines that came one after the other waited")
	}
}
