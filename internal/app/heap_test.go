package app

import "testing"

// Little live heap is collected rarely, much of it somewhat more often than Go does by itself, and never is more than the
// slack, or than half of what is live, left lying, however large the stacks are.
func TestPaceOfTheHeap(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		live, roots uint64
		want        int
	}{
		{0, 0, 800},
		{1, 0, 800},
		{4, 0, 800},
		{8, 0, 400},
		{16, 0, 200},
		{32, 0, 50},
		{1 << 10, 0, 50},
		{30, 18, 30},
		{48, 48, 20},
		{512, 512, 20},
		{1, 1 << 10, 10},
	} {
		got := percentFor(c.live*mib, c.roots*mib)
		if got != c.want {
			t.Errorf("GOGC of %d MiB and %d of roots is %d, want %d", c.live, c.roots, got, c.want)
		}
		most := max(heapSlack/mib, c.live/2)
		if slack := (c.live + c.roots) * uint64(got) / 100; got > leastPercent && slack > most {
			t.Errorf("%d MiB of garbage beside %d MiB and %d of roots, want at most %d", slack, c.live, c.roots, most)
		}
	}
}
