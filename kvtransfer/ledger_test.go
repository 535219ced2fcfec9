package kvtransfer_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/kvtransfer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

var start = time.Unix(1_000_000, 0)

func TestCheck(t *testing.T) {
	h := &kvtransfer.Handle{Digest: "d", Expires: start.Add(30 * time.Second)}
	for name, tc := range map[string]struct {
		after  time.Duration
		digest string
		want   error
	}{
		"fresh":          {0, "d", nil},
		"just in time":   {25*time.Second - 1, "d", nil},
		"within margin":  {25 * time.Second, "d", kvtransfer.ErrExpired},
		"over":           {time.Hour, "d", kvtransfer.ErrExpired},
		"other body":     {0, "x", kvtransfer.ErrMismatch},
		"other and over": {time.Hour, "x", kvtransfer.ErrMismatch},
	} {
		if err := h.Check(start.Add(tc.after), tc.digest, 5*time.Second); !errors.Is(err, tc.want) {
			t.Errorf("%s: Check = %v, want %v", name, err, tc.want)
		}
	}
	if err := (&kvtransfer.Handle{Expires: start.Add(time.Hour)}).Check(start, "", 0); !errors.Is(err, kvtransfer.ErrMismatch) {
		t.Errorf("Check without digests = %v, want ErrMismatch", err)
	}
}

func TestLedgerMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	l := kvtransfer.NewLedger(reg)
	a, b := l.Issue(start, time.Second), l.Issue(start, time.Second)
	l.Issue(start, time.Second)
	l.Issue(start, time.Hour)
	if !l.End(a, kvtransfer.Consumed) || !l.End(b, kvtransfer.Released) {
		t.Error("an open handle could not be ended")
	}
	if l.End(a, kvtransfer.Released) || l.End(99, kvtransfer.Consumed) || l.End(4, "lost") {
		t.Error("End took a handle that had ended, one never issued, or an unknown end")
	}
	if got := l.Expire(start.Add(time.Second)); !slices.Equal(got, []uint64{3}) {
		t.Errorf("Expire = %d, want the third", got)
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP baton_kv_handles_ended_total KV handles by how they ended: consumed, released or expired.
# TYPE baton_kv_handles_ended_total counter
baton_kv_handles_ended_total{end="consumed"} 1
baton_kv_handles_ended_total{end="expired"} 1
baton_kv_handles_ended_total{end="released"} 1
# HELP baton_kv_handles_issued_total KV handles that the prefill engine issued.
# TYPE baton_kv_handles_issued_total counter
baton_kv_handles_issued_total 4
# HELP baton_kv_handles_open KV handles that were issued and have not ended.
# TYPE baton_kv_handles_open gauge
baton_kv_handles_open 1
`))
	if err != nil {
		t.Error(err)
	}
}

// Whatever happens in whatever order, each handle ends once and none is lost.
func TestLedgerLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := kvtransfer.NewLedger(nil)
		now := start
		expires := map[uint64]time.Time{}
		var want kvtransfer.Totals
		t.Repeat(map[string]func(*rapid.T){
			"issue": func(t *rapid.T) {
				lease := time.Duration(rapid.IntRange(0, 30).Draw(t, "lease")) * time.Second
				serial := l.Issue(now, lease)
				if _, ok := expires[serial]; ok {
					t.Fatalf("serial %d was issued twice", serial)
				}
				expires[serial] = now.Add(lease)
				want.Issued++
			},
			"end": func(t *rapid.T) {
				serial := uint64(rapid.IntRange(0, int(want.Issued)+1).Draw(t, "serial"))
				end := rapid.SampledFrom([]kvtransfer.End{kvtransfer.Consumed, kvtransfer.Released, kvtransfer.Expired}).Draw(t, "end")
				_, open := expires[serial]
				if got := l.End(serial, end); got != open {
					t.Fatalf("End(%d) = %v, want %v", serial, got, open)
				}
				delete(expires, serial)
				if open {
					*map[kvtransfer.End]*uint64{kvtransfer.Consumed: &want.Consumed, kvtransfer.Released: &want.Released, kvtransfer.Expired: &want.Expired}[end]++
				}
			},
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
				var over []uint64
				for serial, until := range expires {
					if !until.After(now) {
						delete(expires, serial)
						over = append(over, serial)
					}
				}
				want.Expired += uint64(len(over))
				got := l.Expire(now)
				slices.Sort(got)
				slices.Sort(over)
				if !slices.Equal(got, over) {
					t.Fatalf("Expire = %d, want %d", got, over)
				}
			},
			"": func(t *rapid.T) {
				want.Open = len(expires)
				got := l.Totals()
				if got != want || l.Open() != got.Open || got.Issued != got.Consumed+got.Released+got.Expired+uint64(got.Open) {
					t.Fatalf("Totals = %+v, want %+v", got, want)
				}
			},
		})
	})
}
