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

// Every request is written and read as a job twice, and reported on several times.
func TestJobsAllocateLittle(t *testing.T) {
	job := decodeJob()
	job.Assignment = &wire.Assignment{Place: wire.PlaceSplit, Decode: "decode-abcdefgh", Dispatcher: "frontend-abcdefgh", Why: "split"}
	m, err := job.Encode()
	if err != nil {
		t.Fatal(err)
	}
	report := wire.Report{Worker: "decode-abcdefgh", Jobs: make([]wire.JobReport, 8)}
	for i := range report.Jobs {
		report.Jobs[i] = wire.JobReport{Key: job.Request.MsgID(), Stage: wire.StageDecoding, Tokens: 5, KV: 6}
	}
	said := report.Append(nil)
	for name, c := range map[string]struct {
		most float64
		do   func() error
	}{
		"write a job":    {6, func() error { _, err := job.Encode(); return err }},
		"read a job":     {4, func() error { _, err := wire.DecodeDecodeJob(m); return err }},
		"write a report": {0, func() error { said = report.Append(said[:0]); return nil }},
		"read a report":  {6, func() error { _, err := wire.ReadReport(said); return err }},
	} {
		n := testing.AllocsPerRun(100, func() {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		})
		if n > c.most {
			t.Errorf("to %s makes %.0f allocations, want at most %.0f", name, n, c.most)
		}
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
