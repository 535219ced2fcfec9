package wire_test

import (
	"testing"

	"github.com/baton-llm/baton/internal/wire"
)

// Every token of every stream goes this way, so what it allocates is bounded.
func TestFramesAllocateNothing(t *testing.T) {
	frame := wire.Frame{Run: 1 << 50, Stream: 1 << 40, Attempt: 1, Seq: 7, Kind: wire.Data, Payload: make([]byte, 300)}
	buf := make([]byte, 0, 1<<16)
	encode := func() {
		buf = wire.AppendFrameHeader(buf[:0], "decode-abcdefgh")
		for range 32 {
			buf = wire.AppendFrame(buf, &frame)
		}
	}
	if n := testing.AllocsPerRun(100, encode); n > 0 {
		t.Errorf("encoding 32 frames makes %.0f allocations, want none", n)
	}
	read := 0
	decode := func() {
		if err := wire.ReadFrames(buf, func(string, wire.Frame) bool { read++; return true }); err != nil {
			t.Fatal(err)
		}
	}
	const most = 2 // the sender's name, of the whole batch, and what reads it
	if n := testing.AllocsPerRun(100, decode); n > most || read == 0 {
		t.Errorf("decoding 32 frames makes %.0f allocations, want at most %d", n, most)
	}
}

func BenchmarkFrames(b *testing.B) {
	frame := wire.Frame{Run: 1 << 50, Stream: 1 << 40, Attempt: 1, Seq: 7, Kind: wire.Data, Payload: make([]byte, 300)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendFrame(wire.AppendFrameHeader(buf[:0], "decode-abcdefgh"), &frame)
		if err := wire.ReadFrames(buf, func(string, wire.Frame) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
}
