package sse

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// again is a stream that begins anew when it has ended.
type again struct {
	text string
	rest io.Reader
}

func (a *again) Read(p []byte) (int, error) {
	n, err := a.rest.Read(p)
	if n == 0 && err != nil {
		a.rest.(*strings.Reader).Reset(a.text)
		return a.rest.Read(p)
	}
	return n, nil
}

func endless() *again {
	text := strings.Repeat("data: "+strings.Repeat("x", 250)+"\n\n", 10)
	return &again{text: text, rest: strings.NewReader(text)}
}

// An event that passes through is read and written without an allocation.
func TestEventsAllocateNothing(t *testing.T) {
	r := NewReader(from(endless()), 1<<20)
	var out []byte
	pass := func() {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		out = Append(out[:0], e.Name, e.Data)
	}
	pass()
	if n := testing.AllocsPerRun(200, pass); n > 0 || !bytes.HasPrefix(out, []byte("data: x")) {
		t.Errorf("an event makes %.1f allocations, want none", n)
	}
}

func BenchmarkPassThrough(b *testing.B) {
	r := NewReader(from(endless()), 1<<20)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		e, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		out = Append(out[:0], e.Name, e.Data)
	}
}
