package api

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/baton-llm/baton/router"
)

// memoryWait is how long a body may wait for room. In that time the client is not read from; a
// burst of uploads is over within it, while a longer wait would keep the rooms that it waits with.
const memoryWait = 5 * time.Second

// memory bounds the bytes of the bodies that are being read, in all requests together. What the
// router has admitted is counted by its own bounds. It is safe for concurrent use.
type memory struct {
	room *semaphore.Weighted // first come, first served
	held prometheus.Gauge
}

func newMemory(size int, held prometheus.Gauge) *memory {
	return &memory{room: semaphore.NewWeighted(int64(size)), held: held}
}

// memoryFor is the least size that holds any one body, which needs twice the room while it grows.
func memoryFor(body int) int { return 2 * (body + 1) }

func (m *memory) borrow() *loan { return &loan{of: m} }

// loan is what one request holds. One goroutine uses it, and ends it.
type loan struct {
	of    *memory
	bytes int64
}

// grow returns a copy of b with more room, from memory as it becomes free.
func (l *loan) grow(ctx context.Context, b []byte, size int) ([]byte, *router.Error) {
	if !l.of.acquire(ctx, int64(size)) {
		if ctx.Err() != nil {
			return nil, toError(ctx, ctx.Err())
		}
		e := failure(http.StatusServiceUnavailable, "", "Too many request bodies are being read; try again.")
		e.Reason = "body_memory"
		return nil, e
	}
	l.add(int64(size))
	larger := append(make([]byte, 0, size), b...)
	l.giveBack(int64(cap(b)))
	return larger, nil
}

// acquire waits only where there is no room.
func (m *memory) acquire(ctx context.Context, n int64) bool {
	if m.room.TryAcquire(n) {
		return true
	}
	wait, cancel := context.WithTimeout(ctx, memoryWait)
	defer cancel()
	return m.room.Acquire(wait, n) == nil
}

// end gives back what the loan still holds.
func (l *loan) end() { l.giveBack(l.bytes) }

func (l *loan) add(n int64) {
	l.bytes += n
	l.of.held.Add(float64(n))
}

func (l *loan) giveBack(n int64) {
	l.add(-n)
	l.of.room.Release(n)
}
