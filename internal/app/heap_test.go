package app

import "testing"

// Little live heap is collected rarely, much of it as Go does by itself, and never is more than the slack left lying.
func TestPaceOfTheHeap(t *testing.T) {
	for live, want := range map[uint64]int{0: 800, 1 << 20: 800, 6 << 20: 800, 12 << 20: 400, 24 << 20: 200, 48 << 20: 100, 1 << 30: 100} {
		got := percentFor(live)
		if got != want {
			t.Errorf("GOGC of %d MiB is %d, want %d", live>>20, got, want)
		}
		if slack := live * uint64(got) / 100; got > goPercent && slack > heapSlack {
			t.Errorf("%d MiB of garbage beside %d MiB, want at most %d", slack>>20, live>>20, heapSlack>>20)
		}
	}
}
