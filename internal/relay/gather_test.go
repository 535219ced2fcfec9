package relay

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// What goes on waits a moment for others that go the same way. What begins or ends an answer, and whatever comes after a
// silence, does not.
func TestEventsOfManyStreamsAreOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var batches []int // frames of each
		publish := func(_ string, batch []byte) error {
			n := 0
			err := wire.ReadFrames(batch, func(string, wire.Frame) bool { n++; return true })
			mu.Lock()
			defer mu.Unlock()
			batches = append(batches, n)
			return err
		}
		s := NewSender("worker", publish, DefaultConfig(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		runs := [2]*Run{}
		for i := range runs {
			runs[i] = s.Open(ctx, &wire.Request{Frontend: "f", Stream: uint64(i), Attempt: 1})
			defer runs[i].Close()
		}
		send := func(kind wire.Kind) {
			for _, r := range runs {
				if err := r.Send(ctx, kind, []byte("{}")); err != nil {
					t.Error(err)
				}
			}
		}
		sent := func(when string, want int) { // frames, however many messages
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			got := 0
			for _, n := range batches {
				got += n
			}
			if got != want {
				t.Errorf("%s %d frames are published, want %d", when, got, want)
			}
		}
		for i, kind := range []wire.Kind{wire.Decoding, wire.Data} {
			send(kind)
			sent("at the beginning", 2*(i+1))
		}
		send(wire.Data)
		send(wire.Data)
		sent("in the moment of the last message", 4)
		time.Sleep(gather)
		sent("a moment later", 8)
		mu.Lock()
		if last := batches[len(batches)-1]; last != 4 {
			t.Errorf("the last message has %d events, want two of two streams", last)
		}
		mu.Unlock()
		time.Sleep(gather)
		if err := runs[0].Send(ctx, wire.Data, []byte("{}")); err != nil {
			t.Error(err)
		}
		sent("after a silence", 9)
		send(wire.Data)
		send(wire.End)
		sent("at the end", 13)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
