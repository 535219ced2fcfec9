package app

import "testing"

// Little live heap is collected rarely, much of it as Go does by itself, and never is more than the slack, or than what is
// live, left lying, however large the stacks are.
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
		{48, 0, 100},
		{1 << 10, 0, 100},
		{24, 16, 80},
		{48, 48, 50},
		{512, 512, 50},
		{1, 1 << 10, 10},
	} {
		got := percentFor(c.live*mib, c.roots*mib)
		if got != c.want {
			t.Errorf("GOGC of %d MiB and %d of roots is %d, want %d", c.live, c.roots, got, c.want)
		}
		most := max(heapSlack/mib, c.live)
		if slack := (c.live + c.roots) * uint64(got) / 100; got > leastPercent && slack > most {
			t.Errorf("%d MiB of garbage beside %d MiB and %d of roots, want at most %d", slack, c.live, c.roots, most)
		}
	}
}
