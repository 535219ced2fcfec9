package auth

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func limited(b bounds) *tenant {
	t := &tenant{name: "acme"}
	t.set(b, time.Now())
	return t
}

// admit fails the test unless the request comes in.
func admit(t *testing.T, of *tenant, tokens int) *Lease {
	t.Helper()
	lease, err := of.enter(tokens, time.Now())
	if err != nil {
		t.Fatalf("%d tokens are refused: %v", tokens, err)
	}
	return lease
}

// refuse fails the test unless the request is refused for the reason.
func refuse(t *testing.T, of *tenant, tokens int, reason string) *Refusal {
	t.Helper()
	_, err := of.enter(tokens, time.Now())
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != reason {
		t.Fatalf("%d tokens: %v, want a refusal for %s", tokens, err, reason)
	}
	return refusal
}

func TestRequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme := limited(bounds{Requests: 3})
		for left := 2; left >= 0; left-- {
			lease := admit(t, acme, 1)
			if want := (Quota{Limit: 3, Remaining: left, Reset: time.Duration(3-left) * 20 * time.Second}); lease.Requests != want {
				t.Errorf("quota is %+v, want %+v", lease.Requests, want)
			}
			if lease.Tokens != (Quota{}) {
				t.Errorf("quota of tokens is %+v where there is no limit", lease.Tokens)
			}
			lease.End(1)
		}
		if wait := refuse(t, acme, 1, "requests_per_minute").RetryAfter; wait != 20*time.Second {
			t.Errorf("wait is %v, want the 20s of one in three a minute", wait)
		}
		time.Sleep(20*time.Second - time.Microsecond)
		if wait := refuse(t, acme, 1, "requests_per_minute").RetryAfter; wait != time.Microsecond {
			t.Errorf("wait is %v just before its end", wait)
		}
		time.Sleep(time.Microsecond)
		admit(t, acme, 1)
		refuse(t, acme, 1, "requests_per_minute")
		time.Sleep(time.Hour)
		for range 3 {
			admit(t, acme, 1)
		}
		refuse(t, acme, 1, "requests_per_minute")
	})
}

func TestTokensAreSettledAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme := limited(bounds{Tokens: 600})
		lease := admit(t, acme, 500)
		if wait := refuse(t, acme, 200, "tokens_per_minute").RetryAfter; wait != 10*time.Second {
			t.Errorf("100 tokens are missing at 10 a second, and the wait is %v", wait)
		}
		lease.End(300) // 200 come back
		cheap := admit(t, acme, 300)
		cheap.End(900) // overdrawn by 600
		if wait := refuse(t, acme, 1, "tokens_per_minute").RetryAfter; wait != time.Minute+100*time.Millisecond {
			t.Errorf("601 tokens are missing at 10 a second, and the wait is %v", wait)
		}
		time.Sleep(time.Minute + 100*time.Millisecond)
		admit(t, acme, 1)
	})
}

func TestRequestThatCanNeverFit(t *testing.T) {
	acme := limited(bounds{Tokens: 600})
	if r := refuse(t, acme, 601, "too_many_tokens"); !r.Never || r.RetryAfter != 0 {
		t.Errorf("refusal is %+v, want one without a time", r)
	}
	admit(t, acme, 600)
}

func TestDebtHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme := limited(bounds{Tokens: maxLimit})
		admit(t, acme, 1).End(1 << 62)
		if wait := refuse(t, acme, 1, "tokens_per_minute").RetryAfter; wait < maxDebt*time.Minute || wait > maxDebt*time.Minute+time.Second {
			t.Errorf("wait is %v, want an hour", wait)
		}
		admit(t, limited(bounds{Tokens: maxLimit}), 1).End(-1 << 62)
	})
}

func TestConcurrentRequests(t *testing.T) {
	acme := limited(bounds{Concurrent: 2, Requests: 10})
	first := admit(t, acme, 1)
	admit(t, acme, 1)
	if r := refuse(t, acme, 1, "concurrent"); r.RetryAfter != 0 || r.Never || r.Requests.Remaining != 8 {
		t.Errorf("refusal is %+v, want one without a time, and nothing taken", r)
	}
	first.End(1)
	admit(t, acme, 1)
}

func TestChangedLimitsKeepWhatWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme := limited(bounds{Requests: 2})
		admit(t, acme, 1)
		admit(t, acme, 1)
		acme.set(bounds{Requests: 3}, time.Now())
		admit(t, acme, 1)
		refuse(t, acme, 1, "requests_per_minute")
		acme.set(bounds{Requests: 1}, time.Now())
		if wait := refuse(t, acme, 1, "requests_per_minute").RetryAfter; wait != 3*time.Minute {
			t.Errorf("3 were used, 1 is given a minute, and the wait is %v", wait)
		}
		acme.set(bounds{}, time.Now())
		admit(t, acme, 1)
	})
}

func TestFractionsOfAMicrosecondAreNotLost(t *testing.T) {
	now := time.Now()
	acme := &tenant{name: "acme"}
	acme.set(bounds{Tokens: 60_000_000}, now) // one a microsecond
	if _, err := acme.enter(60_000_000, now); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		now = now.Add(1500 * time.Nanosecond)
		if _, err := acme.enter(2000, now); err == nil {
			t.Fatal("2000 tokens came in before their time")
		}
	}
	if _, err := acme.enter(1500, now); err != nil {
		t.Errorf("1500 tokens after 1500µs: %v", err)
	}
}

// Whatever requests come and whatever they cost in the end: a refusal names the earliest moment at
// which the same request comes in, and what was admitted and not given back is paid for by time.
func TestArithmeticIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]int{1, 7, 1000, 60_000, maxLimit}).Draw(t, "tokens per minute")
		perMinute := rapid.IntRange(1, 100).Draw(t, "requests per minute")
		begun := time.Now()
		now, acme := begun, &tenant{name: "acme"}
		acme.set(bounds{Requests: count(perMinute), Tokens: count(most)}, now)
		var open []*Lease
		requests, tokens := 0, 0 // admitted; tokens by their true cost where it is known
		within := func(what string, n, perMinute int) {
			passed := now.Sub(begun).Microseconds()
			if have, allowed := int64(n)*parts, int64(perMinute)*(parts+passed); have > allowed {
				t.Fatalf("%d %s after %dµs at %d a minute", n, what, passed, perMinute)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "pause")))
			},
			"an answer ends": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("none is open") // not the test: rapid draws another step
				}
				used := rapid.IntRange(0, most+most/2).Draw(t, "used")
				tokens += used - open[0].charged
				open[0].end(used, now)
				open = open[1:]
			},
			"a request comes": func(t *rapid.T) {
				cost := rapid.IntRange(1, most).Draw(t, "cost")
				lease, err := acme.enter(cost, now)
				var refusal *Refusal
				if errors.As(err, &refusal) {
					if refusal.Never || refusal.RetryAfter <= 0 {
						t.Fatalf("refusal %+v of what fits", refusal)
					}
					now = now.Add(refusal.RetryAfter)
					if _, err := acme.enter(cost, now.Add(-2*time.Microsecond)); err == nil {
						t.Fatal("the request came in before the time that it was told")
					}
					if lease, err = acme.enter(cost, now); err != nil {
						t.Fatalf("the request did not come in at the time that it was told: %v", err)
					}
				}
				requests, tokens = requests+1, tokens+cost
				open = append(open, lease)
				within("requests", requests, perMinute)
				within("tokens", tokens, most)
			},
		})
	})
}
