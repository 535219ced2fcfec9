package router

import (
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

func TestAdmissionAllocatesNothing(t *testing.T) {
	cfg := DefaultConfig()
	a := newAdmission(&cfg)
	now := time.Unix(0, 0)
	pass := func() {
		if err := a.enter(wire.Standard, 1000, now); err != nil {
			t.Fatal(err)
		}
		a.leave(wire.Standard, 1000, now)
	}
	if n := testing.AllocsPerRun(200, pass); n > 0 {
		t.Errorf("letting a request in and out makes %.1f allocations, want none", n)
	}
}

// Pieces share slabs: small events that wait allocate once for dozens of them, and those that are read before others
// come not at all.
func TestPiecesShareTheirMemory(t *testing.T) {
	c, payload := &call{slab: make([]byte, 0, slabMost)}, make([]byte, 100)
	if n := testing.AllocsPerRun(200, func() {
		for range slabMost / len(payload) {
			c.keep(payload)
		}
	}); n > 1.5 {
		t.Errorf("%d pieces make %.1f allocations, want one", slabMost/len(payload), n)
	}
	first, second := c.keep([]byte("a")), c.keep([]byte("b"))
	if longer := append(first, 'x'); string(longer) != "ax" || string(second) != "b" {
		t.Errorf("a piece that its owner extends changes the next one to %q", second)
	}
}
