package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// What a frozen engine had done before it froze arrives after it, all at once.
func TestSilenceOfAnEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{pulse: newPulse()}
		begun := time.Now()
		for range 10 {
			time.Sleep(400 * time.Millisecond)
			c.pulse.heard()
		}
		now := time.Now()
		if got := c.Done(begun, now); !got.Equal(now) {
			t.Errorf("an answer of an engine that talks was done %v before it came", now.Sub(got))
		}
		if longest, within := c.Silence(begun, begun, now); longest != 0 || within != 0 {
			t.Errorf("Silence = %v, %v of an engine that talks", longest, within)
		}

		frozen := now
		time.Sleep(4 * time.Second)
		c.pulse.heard()
		time.Sleep(10 * time.Millisecond)
		c.pulse.heard()
		now = time.Now()
		if got := c.Done(begun, now); !got.Equal(frozen) {
			t.Errorf("the second answer after a silence was done %v after it began, want 0s", got.Sub(frozen))
		}
		if called := frozen.Add(time.Second); !c.Done(called, now).Equal(called) {
			t.Error("an answer was done before its call")
		}
		for from, want := range map[time.Duration]time.Duration{-2 * time.Second: 0, -500 * time.Millisecond: 4 * time.Second, 2 * time.Second: 4 * time.Second, 5 * time.Second: 0} {
			from := frozen.Add(from)
			if longest, within := c.Silence(begun, from, from.Add(time.Second)); longest != 4*time.Second || within != want {
				t.Errorf("Silence within the second from %v on = %v, %v, want 4s, %v", from.Sub(frozen), longest, within, want)
			}
		}
		if longest, _ := c.Silence(now, now, now); longest != 0 {
			t.Errorf("Silence = %v since the last one ended", longest)
		}

		for range 4 {
			time.Sleep(300 * time.Millisecond)
			c.pulse.heard()
		}
		if now = time.Now(); !c.Done(begun, now).Equal(now) {
			t.Error("an answer long after a silence was held up by it")
		}
		for range 3 * keptSilences {
			time.Sleep(time.Second)
			c.pulse.heard()
		}
		if got := len(c.pulse.silences); got != keptSilences {
			t.Errorf("%d silences are kept, want %d", got, keptSilences)
		}
	})
}
