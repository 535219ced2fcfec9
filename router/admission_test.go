package router

import (
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

func TestAdmissionBounds(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAdmission(&Config{All: Limits{Requests: 3, Bytes: 100}, Batch: Limits{Requests: 1}})
	steps := []struct {
		class  wire.Class
		bytes  int
		reason string // empty: admitted
	}{
		{wire.Batch, 10, ""},
		{wire.Batch, 10, "batch_requests"},
		{wire.Standard, 91, "all_bytes"},
		{wire.Standard, 90, ""},
		{wire.Interactive, 0, ""},
		{wire.Interactive, 0, "all_requests"},
	}
	for i, s := range steps {
		err := a.enter(s.class, s.bytes, now)
		if got := reason(err); got != s.reason {
			t.Errorf("step %d: refused for %q, want %q", i, got, s.reason)
		}
		if err != nil && err.Status != 429 {
			t.Errorf("step %d: status %d, want 429", i, err.Status)
		}
	}
	a.leave(wire.Batch, 10, now)
	if err := a.enter(wire.Batch, 10, now); err != nil {
		t.Errorf("refused after one left: %v", err)
	}
}

func reason(err *Error) string {
	if err == nil {
		return ""
	}
	return err.Reason
}

func TestBodyLargerThanTheBoundComesInAlone(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAdmission(&Config{All: Limits{Bytes: 10}})
	if err := a.enter(wire.Standard, 11, now); err != nil {
		t.Errorf("refused: %v", err)
	}
	if err := a.enter(wire.Standard, 1, now); err == nil {
		t.Error("admitted beside it")
	}
}

func TestRetryAfterFollowsTheDrainRate(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAdmission(&Config{All: Limits{Requests: 10}})
	for range 10 {
		if err := a.enter(wire.Standard, 1, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.enter(wire.Standard, 1, now); err.RetryAfter != time.Minute {
		t.Errorf("before anything has ended: %v, want the most", err.RetryAfter)
	}
	for range 120 { // two a second, for a minute
		now = now.Add(500 * time.Millisecond)
		a.leave(wire.Standard, 1, now)
		if err := a.enter(wire.Standard, 1, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		want := max(time.Second, time.Duration((i+2)/2)*time.Second) // the i-th in line, two a second
		got := a.enter(wire.Standard, 1, now).RetryAfter
		if got < want-time.Second || got > want+time.Second {
			t.Errorf("client %d in line: %v, want about %v", i, got, want)
		}
	}
	for range 1000 {
		if got := a.enter(wire.Standard, 1, now).RetryAfter; got < time.Second || got > time.Minute || got%time.Second != 0 {
			t.Fatalf("RetryAfter = %v, want whole seconds from 1 to 60", got)
		}
	}
}

func TestMeterMeasuresFromItsStart(t *testing.T) {
	for name, perSecond := range map[string]int{"slow": 1, "fast": 50} {
		t.Run(name, func(t *testing.T) {
			var m meter
			now := time.Unix(0, 0)
			m.start(now)
			for second := range 120 {
				for range perSecond {
					now = now.Add(time.Second / time.Duration(perSecond))
					m.count(now)
				}
				if second < 3 {
					continue
				}
				if got := m.rate(now) / float64(perSecond); got < 0.9 || got > 1.3 {
					t.Fatalf("after %d s: measures %.2f times the true rate", second+1, got)
				}
			}
		})
	}
}

func TestBackoffGrowsWithinItsBounds(t *testing.T) {
	cfg := DefaultConfig()
	for attempt := uint32(2); attempt < 12; attempt++ {
		pause := cfg.Backoff << (attempt - 2)
		for range 50 {
			got := cfg.backoff(attempt)
			if low := min(pause, cfg.MaxBackoff) / 2; got < low || got > min(cfg.MaxBackoff, pause+pause/2) {
				t.Errorf("backoff(%d) = %v", attempt, got)
			}
		}
	}
}

func TestConfigFaultsAreNamed(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := DefaultConfig()
	bad.Attempts, bad.All.Requests, bad.MaxBackoff = 0, -1, 0
	want := "router.all.requests is -1, want 0 or more\nrouter.attempts is 0, want 1 or more\nrouter.max_backoff is 0s, want 50ms or more"
	if err := bad.Validate(); err == nil || err.Error() != want {
		t.Errorf("Validate = %v\nwant %s", err, want)
	}
}
