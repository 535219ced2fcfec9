package relay

import (
	"context"
	"log/slog"
	"testing"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
)

type nothing struct{}

func (nothing) Frame(RunID, wire.Frame, bool) bool { return true }

func (nothing) Lost(RunID) {}

// batchOf is one batch with a frame of each of so many runs, the seq-th of each.
func batchOf(runs int, seq uint32) []byte {
	batch := wire.AppendFrameHeader(nil, "decode-1.serial")
	for run := range runs {
		f := wire.Frame{Run: uint64(run), Stream: uint64(run), Attempt: 1, Seq: seq, Kind: wire.Data, Payload: make([]byte, 250)}
		batch = wire.AppendFrame(batch, &f)
	}
	return batch
}

// What comes of many streams together is handed on without an allocation for each.
func TestBatchesAllocateLittle(t *testing.T) {
	const runs, rounds = 200, 50
	cfg := DefaultConfig()
	r := NewReceiver("frontend", func(string, []byte) error { return nil }, cfg, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	for run := range runs {
		r.Open(uint64(run), nothing{})
	}
	batches := make([][]byte, rounds+2)
	for seq := range batches {
		batches[seq] = batchOf(runs, uint32(seq))
	}
	next := 0
	pass := func() {
		r.Batch(batches[next])
		for run := range runs {
			r.Consumed(RunID{Worker: "decode-1.serial", Run: uint64(run)}, uint32(next))
		}
		next++
	}
	pass() // makes the runs
	const most = .3
	if n := testing.AllocsPerRun(rounds, pass) / runs; n > most {
		t.Errorf("a frame of a batch makes %.2f allocations, want at most %.2f", n, most)
	}
	if next != rounds+2 || r.known(RunID{Worker: "decode-1.serial", Run: 7}).consumed != rounds+2 {
		t.Error("not all frames were handed on")
	}
}

// The frames of a stream share their memory on the way out.
func TestFramesAllocateLittle(t *testing.T) {
	s := NewSender("worker", func(string, []byte) error { return nil }, DefaultConfig(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	run := s.Open(context.Background(), &wire.Request{Frontend: "frontend", Stream: 1, Attempt: 1})
	defer run.Close()
	payload, seq := make([]byte, 250), uint32(0)
	send := func() {
		if err := run.Send(context.Background(), wire.Data, payload); err != nil {
			t.Fatal(err)
		}
		s.out.flush()
		if seq++; seq%10 == 0 {
			s.Control("frontend", wire.Control{Kind: wire.Ack, Run: run.ID(), Received: seq, Consumed: seq})
		}
	}
	send()
	const most = .5
	if n := testing.AllocsPerRun(1000, send); n > most {
		t.Errorf("a frame makes %.2f allocations on its way out, want at most %.2f", n, most)
	}
}
