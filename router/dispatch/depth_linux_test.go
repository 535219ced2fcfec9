package dispatch_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/baton-llm/baton/router/dispatch"
)

// BenchmarkQueueDepth measures what one more job costs while so many others wait, in a queue whose depth stays: it is
// published, ordered, placed, forwarded and settled. The worker and the NATS server are in this process, and counted
// with it. heap-B/job is the memory of one that waits, wherever it does.
//
//	go test ./router/dispatch -run '^$' -bench QueueDepth -benchmem -count 3
func BenchmarkQueueDepth(b *testing.B) {
	for _, depth := range []int{100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			t := newTurnstile(b)
			before := heap()
			t.publish(depth)
			t.waits(min(depth, dispatch.DefaultConfig().LookAhead))
			waiting := float64(heap()-before) / float64(depth)
			t.open()
			running := t.next()
			begun := processor(b)
			for b.Loop() {
				running, _ = t.turn(running)
			}
			b.ReportMetric(float64((processor(b)-begun).Microseconds())/float64(b.N), "cpu-µs/job")
			b.ReportMetric(waiting, "heap-B/job")
		})
	}
}

// waits returns once the dispatcher holds n jobs to choose from.
func (t *turnstile) waits(n int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for t.frontend.held(t) != n {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("the dispatcher holds %d jobs after a minute, want %d", t.frontend.held(t), n)
		}
	}
}

// heap is the memory in use after a collection, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// processor is the time that all threads of this process have run.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
