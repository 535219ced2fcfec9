package schedule_test

import (
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// result sums up what clients saw.
type result struct {
	total             time.Duration
	meanTTFT, p99TTFT time.Duration
	meanTPOT, p99TPOT time.Duration
	good              float64 // part of the requests that kept both promises
	whys              map[string]int
	preempted         int
}

func percentile(ds []time.Duration, p float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(p*float64(len(ds))))]
}

func mean(ds []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range ds {
		sum += d
	}
	return sum / time.Duration(max(1, len(ds)))
}

func sum(rs []*request, pick func(*request) bool) result {
	var ttft, tpot []time.Duration
	var r result
	good, n := 0, 0
	for _, q := range rs {
		if !pick(q) {
			continue
		}
		n++
		if q.wasAbandoned {
			continue
		}
		r.total = max(r.total, q.ended.Sub(epoch))
		ttft, tpot = append(ttft, q.ttft()), append(tpot, q.tpot())
		if q.ttft() <= 2*time.Second && q.tpot() <= 100*time.Millisecond {
			good++
		}
	}
	r.meanTTFT, r.p99TTFT, r.meanTPOT, r.p99TPOT = mean(ttft), percentile(ttft, .99), mean(tpot), percentile(tpot, .99)
	r.good = float64(good) / float64(max(1, n))
	return r
}

func all(*request) bool { return true }

var (
	asPrefill = flags{batch: 4096, seqs: 1024}
	asDecode  = flags{batch: 1024, threshold: 896, seqs: 1024}
	asBoth    = flags{batch: 1280, seqs: 1024}
)

func node(f flags) []box {
	return []box{{wire.RolePrefill, tp4, asPrefill}, {wire.RoleDecode, tp4, f}}
}

const tp4 = "llama-70b-h100-tp4"

func burst(n int) (rs []*request) {
	for range n {
		rs = append(rs, &request{prompt: 8192, out: 200, class: wire.Standard})
	}
	return rs
}

func law(m schedule.Mode) schedule.Config {
	c := schedule.DefaultConfig()
	c.Mode = m
	return c
}

func play(t testing.TB, u setup, rs []*request) result {
	s := newSite(t, u)
	start := time.Now()
	r := sum(s.serve(rs), all)
	r.whys = s.whys
	for _, w := range s.order {
		r.preempted += w.engine.preempted
	}
	t.Logf("T %.0f  TTFT %.3f p99 %.3f  TPOT %.1f p99 %.1f  good %.1f%%  %v pre %d (%.0f ms)", r.total.Seconds(), r.meanTTFT.Seconds(), r.p99TTFT.Seconds(), ms(r.meanTPOT), ms(r.p99TPOT), 100*r.good, r.whys, r.preempted, ms(time.Since(start)))
	return r
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func TestSlow(t *testing.T) {
	for _, e := range []time.Duration{50, 100, 200, 500, 1000} {
		paceEvery = e * time.Millisecond
		play(t, setup{law: law(schedule.Elastic), boxes: node(asDecode), gbps: 2.5}, burst(2000))
	}
}

func TestBurst(t *testing.T) {
	play(t, setup{law: law(schedule.Elastic), boxes: node(asDecode), gbps: 50}, burst(2000))
	play(t, setup{law: law(schedule.Split), boxes: node(asDecode), gbps: 50}, burst(2000))
	play(t, setup{law: law(schedule.Aggregated), boxes: []box{{wire.RoleBoth, tp4, asBoth}, {wire.RoleBoth, tp4, asBoth}}, gbps: 50}, burst(2000))
	play(t, setup{law: law(schedule.Elastic), boxes: node(asDecode), gbps: 2.5}, burst(2000))
	play(t, setup{law: law(schedule.Elastic), boxes: node(asDecode), gbps: 1}, burst(2000))
}
