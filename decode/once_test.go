package decode_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A NATS server that was killed delivers jobs anew and says that it is for the first time. The engine that is asked a
// second time for a handle's blocks may get another prompt's.
func TestHandleIsReadOnceHoweverOftenItComes(t *testing.T) {
	for name, pause := range map[string]time.Duration{"at once": 0, "while it is read": gap + gap/2, "afterwards": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, j := newBench(), job(1)
				stop := b.start(t)
				b.queue.Put(j, 1)
				after(pause)
				b.queue.Put(j, 1)
				after(time.Minute)
				other := job(2) // of another handle
				b.queue.Put(other, 1)
				after(time.Minute)
				stop()
				if got := kinds(b.frames.Of("r1")); got != "decoding data data data end" {
					t.Errorf("frames = %s", got)
				}
				if got := kinds(b.frames.Of("r2")); got != "decoding data data data end" {
					t.Errorf("frames of another handle = %s", got)
				}
				if calls, _, _ := b.engine.counts(); calls != 2 {
					t.Errorf("%d engine calls, want 2", calls)
				}
				if _, done, retried := b.queue.Counts(); done != 3 || retried != 0 {
					t.Errorf("%d done, %d handed back, want 3 and 0", done, retried)
				}
				if got := b.reports.Stages("f.1.1"); !strings.HasSuffix(got, "ended") {
					t.Errorf("the dispatchers hear %q: the job never ends", got)
				}
			})
		})
	}
}
