//go:build !race

package api

import (
	"io"
	"runtime"
	"testing"
)

// Thousands of requests wait at a time: each costs two small stacks and little else.
func TestMemoryOfARequestThatWaits(t *testing.T) {
	const n, most = 400, 14 << 10
	r, queued, _ := held()
	h := start(t, r, oneModel, nil)
	inUse := func() uint64 {
		var m runtime.MemStats
		for range 3 { // a stack is halved at most once in a collection
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.StackInuse + m.HeapAlloc
	}
	before := inUse()
	for range n {
		conn, err := h.dial(t.Context(), "tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, post(chatSSE)); err != nil {
			t.Fatal(err)
		}
		<-queued
	}
	if each := (inUse() - before) / n; each > most {
		t.Errorf("a request that waits takes %d bytes, want at most %d", each, most)
	}
}
