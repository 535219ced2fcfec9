package natsdtest

import (
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/baton-llm/baton/internal/natsd"
)

// Bubble is synctest.Test for tests with connections to NATS, of which no other runs meanwhile.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	natsd.DropPooledTimers()
	defer natsd.DropPooledTimers() // this bubble's timers must not reach the next one
	// The timers of a bubble share one context of the race detector, and two threads that have some fire at the same
	// instant break it (https://github.com/golang/go/issues/78156 has what that looks like): there is one thread.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}
