package schedule_test
import ("testing"; "github.com/baton-llm/baton/router/schedule";"time")
func TestTmp(t *testing.T) {
	paceEvery = 100*time.Millisecond
	schedule.Tau = 0
	for _, ah := range []int{512,1024, 2048, 4096, 7000} {
	schedule.Ahead = ah
	for _, k := range []float64{.95} {
		l := law(schedule.Elastic); l.KVLow = k
		t.Log(ah, k)
	play(t, setup{law: l, boxes: node(asDecode), gbps: 50}, burst(2000))
	play(t, setup{law: l, boxes: node(asDecode), gbps: 2.5}, burst(2000))
	play(t, setup{law: l, boxes: node(asDecode), gbps: 1}, burst(2000))
	}
	}
}
