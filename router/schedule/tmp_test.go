package schedule_test

import (
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
	"math"
	"math/rand"
	"os"
	"strconv"
	"testing"
	"time"
)

func gamma(r *rand.Rand, k float64) float64 {
	if k < 1 {
		u := r.Float64()
		return gamma(r, k+1) * math.Pow(u, 1/k)
	}
	d := k - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := r.Float64()
		if math.Log(u) < .5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
func bursty(seed int64, n int, rate float64) (rs []*request) {
	r := rand.New(rand.NewSource(seed))
	at := 0.0
	for range n {
		at += gamma(r, .25) / .25 / rate
		rs = append(rs, &request{arrival: time.Duration(at * 1e9), prompt: 8192, out: 200, class: wire.Standard})
	}
	return rs
}
func env(k string, d float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(k), 64); err == nil {
		return v
	}
	return d
}
func TestGood(t *testing.T) {
	schedule.Ahead = int(env("AHEAD", 1024))
	schedule.Keep = env("KEEP", 1) == 1
	schedule.Margin = time.Duration(env("MARGIN", 50)) * time.Millisecond
	schedule.Late = int(env("LATE", 0))
	schedule.Tau = env("TAU", 5)
	schedule.Reject = env("REJECT", 0) == 1
	schedule.KeepCalm = env("KC", .95)
	schedule.KeepFirst = int(env("KF", 0))
	schedule.PCalm = env("PC", .95)
	paceEvery = time.Duration(env("PACE", 100)) * time.Millisecond
	for _, m := range []schedule.Mode{schedule.Elastic, schedule.Aggregated, schedule.Split}[:int(env("MODES", 1))] {
		for _, load := range []float64{.6, .8, .95} {
			var g, n float64
			var whys map[string]int
			for seed := range 3 {
				l := law(m)
				l.SLO.TTFT = 2 * time.Second
				l.KVLow = env("KVLOW", .9)
				l.PrefillWindow = int(env("WIN", 4096))
				b := node(asDecode)
				if m == schedule.Aggregated {
					b = []box{{wire.RoleBoth, tp4, asBoth}, {wire.RoleBoth, tp4, asBoth}}
				}
				s := newSite(t, setup{law: l, boxes: b, gbps: 50})
				rs := s.serve(bursty(int64(seed+1), 2000, load*3.03))
				g += sum(rs, all).good
				n++
				whys = s.whys
				if os.Getenv("V") != "" {
					r := sum(rs, all)
					t.Logf("  good %.1f ttft %.2f tpot %.1f p99 %.1f", 100*r.good, r.meanTTFT.Seconds(), ms(r.meanTPOT), ms(r.p99TPOT))
					bt, bp := 0, 0
					for _, q := range rs {
						if q.ttft() > 2*time.Second {
							bt++
						}
						if q.tpot() > 100*time.Millisecond {
							bp++
						}
					}
					t.Log(bt, bp)
					miss, n, tt := map[string]int{}, map[string]int{}, map[string]time.Duration{}
					for _, q := range rs {
						w := q.placedAt.Sub(q.at())
						n[q.place]++
						tt[q.place] += q.ttft() - w
						if q.ttft() > 2*time.Second {
							if q.tpot() > 100*time.Millisecond {
								miss[q.place+" tpot"]++
							}
							if w < 1400*time.Millisecond {
								miss[q.place+" timely"]++
							} else if w < 2*time.Second {
								miss[q.place+" 1.4-2"]++
							} else {
								miss[q.place+" late"]++
							}
						}
					}
					for k := range n {
						tt[k] /= time.Duration(n[k])
					}
					t.Log(miss, n, tt)
				}
			}
			t.Logf("%s %.2f good %.1f %v", m, load, 100*g/n, whys)
		}
	}
}
