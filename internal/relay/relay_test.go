package relay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network carries batches between one worker "w" and one frontend "f", as badly as it is told.
type network struct {
	mu               sync.Mutex
	rnd              *rand.Rand
	lose, twice, lag float64 // probabilities
	cut              bool    // nothing passes
	batches          int     // frame batches published
	sender           *relay.Sender
	receiver         *relay.Receiver
	wg               sync.WaitGroup
}

func (n *network) publish(subject string, batch []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if subject == wire.FramesSubject("f") {
		n.batches++
	}
	copies := 1
	if n.rnd.Float64() < n.twice {
		copies = 2
	}
	for range copies {
		if n.cut || n.rnd.Float64() < n.lose {
			continue
		}
		wait := time.Millisecond
		if n.rnd.Float64() < n.lag {
			wait = time.Duration(n.rnd.IntN(300)) * time.Millisecond
		}
		data := bytes.Clone(batch)
		n.wg.Go(func() {
			time.Sleep(wait)
			n.deliver(subject, data)
		})
	}
	return nil
}

func (n *network) deliver(subject string, data []byte) {
	switch subject {
	case wire.FramesSubject("f"):
		n.receiver.Batch(data)
	case wire.ControlSubject("w"):
		_ = wire.ReadControls(data, n.sender.Control)
	}
}

func (n *network) published() int { n.mu.Lock(); defer n.mu.Unlock(); return n.batches }

func (n *network) isolate(cut bool) { n.mu.Lock(); n.cut = cut; n.mu.Unlock() }

// sink notes frames and, if it reads, consumes them at once.
type sink struct {
	mu     sync.Mutex
	r      *relay.Receiver
	reads  bool
	keep   bool
	frames []wire.Frame
	ids    []relay.RunID
	lost   []relay.RunID
}

func (s *sink) Lost(id relay.RunID) { s.mu.Lock(); s.lost = append(s.lost, id); s.mu.Unlock() }

func (s *sink) gone() []relay.RunID { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.lost) }

func (s *sink) Frame(id relay.RunID, f wire.Frame, _ bool) bool {
	f.Payload = bytes.Clone(f.Payload)
	s.mu.Lock()
	s.frames, s.ids = append(s.frames, f), append(s.ids, id)
	reads, keep := s.reads, s.keep
	s.mu.Unlock()
	if reads {
		s.r.Consumed(id, f.Seq)
	}
	return keep
}

func (s *sink) got() []wire.Frame { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.frames) }

// setup must be called in a synctest bubble.
func setup(t testing.TB, cfg relay.Config, n *network) (stop func()) {
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if n.rnd == nil {
		n.rnd = rand.New(rand.NewPCG(1, 2))
	}
	log := slog.New(slog.DiscardHandler)
	n.sender = relay.NewSender("w", n.publish, cfg, nil, log)
	n.receiver = relay.NewReceiver("f", n.publish, cfg, nil, log)
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	g.Go(func() { _ = n.sender.Run(ctx) })
	g.Go(func() { _ = n.receiver.Run(ctx) })
	return func() { cancel(); g.Wait(); n.wg.Wait() }
}

func (n *network) open(stream uint64, reads bool) *sink {
	s := &sink{r: n.receiver, reads: reads, keep: true}
	n.receiver.Open(stream, s)
	return s
}

func request(stream uint64) *wire.Request {
	return &wire.Request{Frontend: "f", Stream: stream, Attempt: 1}
}

func send(t testing.TB, r *relay.Run, kind wire.Kind, payload []byte) {
	t.Helper()
	if err := r.Send(context.Background(), kind, payload); err != nil {
		t.Fatalf("Send %s: %v", kind, err)
	}
}

func TestEveryFrameComesOnceInOrderOverABadNetwork(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		runs := rapid.IntRange(1, 4).Draw(rt, "runs")
		frames := rapid.IntRange(0, 60).Draw(rt, "frames")
		n := &network{
			rnd:  rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)),
			lose: rapid.Float64Range(0, 0.3).Draw(rt, "lose"), twice: rapid.Float64Range(0, 0.5).Draw(rt, "twice"),
			lag: rapid.Float64Range(0, 0.8).Draw(rt, "lag"),
		}
		cfg := relay.DefaultConfig()
		cfg.Window = rapid.IntRange(1, 300).Draw(rt, "window")
		cfg.GiveUp, cfg.Linger = 10*time.Minute, 10*time.Minute
		synctest.Test(t, func(t *testing.T) {
			stop := setup(t, cfg, n)
			defer stop()
			var sinks []*sink
			var g sync.WaitGroup
			for i := range runs {
				stream := uint64(i + 1)
				sinks = append(sinks, n.open(stream, true))
				g.Go(func() {
					r := n.sender.Open(context.Background(), request(stream))
					defer r.Close()
					for k := range frames {
						send(t, r, wire.Data, binary.BigEndian.AppendUint32(nil, uint32(k)))
						if k%7 == 0 {
							time.Sleep(20 * time.Millisecond)
						}
					}
					send(t, r, wire.End, []byte("{}"))
				})
			}
			g.Wait()
			time.Sleep(5 * time.Minute) // lost tails come by probes
			synctest.Wait()
			for i, s := range sinks {
				got := s.got()
				if len(got) != frames+1 {
					t.Errorf("stream %d: %d frames came, want %d", i+1, len(got), frames+1)
					continue
				}
				for k, f := range got[:frames] {
					if f.Seq != uint32(k) || f.Kind != wire.Data || binary.BigEndian.Uint32(f.Payload) != uint32(k) {
						t.Errorf("stream %d: frame %d is %+v", i+1, k, f)
					}
				}
				if got[frames].Kind != wire.End {
					t.Errorf("stream %d ends with %s", i+1, got[frames].Kind)
				}
			}
		})
	})
}

func TestLostTailAndLostAcksHealThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		stop := setup(t, relay.DefaultConfig(), n)
		defer stop()
		s := n.open(1, true)
		r := n.sender.Open(t.Context(), request(1))
		n.isolate(true)
		send(t, r, wire.Data, []byte("x"))
		send(t, r, wire.End, nil)
		r.Close()
		time.Sleep(500 * time.Millisecond)
		n.isolate(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(s.got()) != 2 {
			t.Fatalf("%d frames came, want 2", len(s.got()))
		}
		before := n.published()
		time.Sleep(30 * time.Second)
		if after := n.published(); after != before {
			t.Errorf("an acknowledged run was sent %d times more", after-before)
		}
	})
}

func TestSlowReaderBlocksOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		cfg := relay.DefaultConfig()
		cfg.Window = 100
		stop := setup(t, cfg, n)
		defer stop()
		slow, fast := n.open(1, false), n.open(2, true)
		a, b := n.sender.Open(t.Context(), request(1)), n.sender.Open(t.Context(), request(2))
		defer a.Close()
		defer b.Close()
		blocked := make(chan error, 1)
		go func() {
			for range 3 {
				if err := a.Send(t.Context(), wire.Data, make([]byte, 50)); err != nil {
					blocked <- err
					return
				}
			}
			blocked <- nil
		}()
		begin := time.Now()
		for range 20 {
			send(t, b, wire.Data, make([]byte, 50))
		}
		if took := time.Since(begin); took >= cfg.AckInterval {
			t.Errorf("10 windows took %s: a reader that keeps up must not wait for the tick", took)
		}
		time.Sleep(time.Minute) // far beyond GiveUp: a slow reader is not a dead frontend
		synctest.Wait()
		if got := len(fast.got()); got != 20 {
			t.Errorf("the fast stream got %d frames, want 20", got)
		}
		select {
		case err := <-blocked:
			t.Fatalf("Send beyond the window returned %v", err)
		default:
		}
		if a.Context().Err() != nil {
			t.Errorf("slow reader's run ended: %v", context.Cause(a.Context()))
		}
		n.receiver.Consumed(slow.ids[0], 0)
		if err := <-blocked; err != nil {
			t.Error(err)
		}
	})
}

func TestCancelReachesTheRun(t *testing.T) {
	ways := map[string]func(n *network, s *sink){
		"Cancel":         func(n *network, s *sink) { n.receiver.Cancel(s.ids[0]) },
		"Close":          func(n *network, _ *sink) { n.receiver.Close(1) },
		"sink says no":   func(_ *network, s *sink) { s.mu.Lock(); s.keep = false; s.mu.Unlock() },
		"unknown stream": func(*network, *sink) {},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{}
				stop := setup(t, relay.DefaultConfig(), n)
				defer stop()
				s := n.open(1, true)
				if name == "unknown stream" {
					n.receiver.Close(1)
				}
				r := n.sender.Open(t.Context(), request(1))
				defer r.Close()
				send(t, r, wire.Decoding, nil)
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				way(n, s)
				_ = r.Send(t.Context(), wire.Data, []byte("x"))
				time.Sleep(100 * time.Millisecond)
				if cause := context.Cause(r.Context()); !errors.Is(cause, relay.ErrCancelled) {
					t.Errorf("cause = %v, want ErrCancelled", cause)
				}
				if err := r.Send(t.Context(), wire.Data, nil); !errors.Is(err, relay.ErrCancelled) {
					t.Errorf("Send = %v, want ErrCancelled", err)
				}
			})
		})
	}
}

func TestFrontendThatIsGoneEndsTheRunInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{cut: true}
		cfg := relay.DefaultConfig()
		stop := setup(t, cfg, n)
		defer stop()
		r := n.sender.Open(t.Context(), request(1))
		defer r.Close()
		time.Sleep(time.Hour) // silence while nothing is owed is no death
		begin := time.Now()
		send(t, r, wire.Decoding, nil)
		<-r.Context().Done()
		if took := time.Since(begin); took < cfg.GiveUp || took > cfg.GiveUp+cfg.Probe {
			t.Errorf("the run ended after %s, want %s", took, cfg.GiveUp)
		}
		if cause := context.Cause(r.Context()); !errors.Is(cause, relay.ErrFrontendGone) {
			t.Errorf("cause = %v", cause)
		}
	})
}

func TestFramesGatherWhileAPublishIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var counts []int
		cfg := relay.DefaultConfig()
		s := relay.NewSender("w", func(_ string, batch []byte) error {
			if len(batch) > cfg.MaxBatch {
				t.Errorf("a batch of %d bytes", len(batch))
			}
			k := 0
			_ = wire.ReadFrames(batch, func(string, wire.Frame) bool { k++; return true })
			counts = append(counts, k)
			<-release
			return nil
		}, cfg, nil, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		for i := range 101 {
			r := s.Open(t.Context(), request(uint64(i)))
			defer r.Close()
			send(t, r, wire.Data, make([]byte, 10))
			if i == 0 {
				synctest.Wait() // the first is being published
			}
		}
		big := s.Open(t.Context(), request(500))
		defer big.Close()
		for range 4 {
			b := s.Open(t.Context(), request(501))
			defer b.Close()
			send(t, b, wire.Data, make([]byte, cfg.MaxPayload))
		}
		cancel()
		close(release)
		<-done
		total := 0
		for _, c := range counts {
			total += c
		}
		if total != 105 || counts[1] < 100 || len(counts) > 6 {
			t.Errorf("frames per batch: %v", counts)
		}
		if err := big.Send(t.Context(), wire.Data, make([]byte, cfg.MaxPayload+1)); !errors.Is(err, relay.ErrTooLarge) {
			t.Errorf("Send = %v, want ErrTooLarge", err)
		}
	})
}

func TestWorkersNotifyEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		stop := setup(t, relay.DefaultConfig(), n)
		defer stop()
		got := make(chan wire.Control, 1)
		other := relay.NewSender("d", func(subject string, batch []byte) error {
			if subject != wire.ControlSubject("p") {
				t.Errorf("subject = %s", subject)
			}
			return wire.ReadControls(batch, func(_ string, c wire.Control) { got <- c })
		}, relay.DefaultConfig(), nil, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		want := wire.Control{Kind: wire.HandleConsumed, Run: 9}
		other.NotifyWorker("p", want)
		if c := <-got; c != want {
			t.Errorf("control = %+v", c)
		}
		cancel()
		<-done
	})
}

func TestConfigFaultsAreAllNamed(t *testing.T) {
	cfg := relay.DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	cfg = relay.Config{MaxPayload: 10, MaxBatch: 10, MaxPending: 5, GiveUp: -1}
	err := cfg.Validate()
	for _, name := range []string{"relay.window", "relay.max_batch", "relay.max_pending", "relay.ack_interval", "relay.give_up", "relay.linger"} {
		if err == nil || !strings.Contains(err.Error(), name+" is ") {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
}

// What can be divided is, so that every frame is taken and the next ones do not wait for room.
func TestPortionsFitIntoFramesAndTheWindow(t *testing.T) {
	for _, tt := range []struct{ window, payload, want int }{
		{256 << 10, 256 << 10, 32 << 10}, {256 << 10, 1000, 1000}, {1000, 256 << 10, 250}, {1, 1, 1},
	} {
		cfg := relay.DefaultConfig()
		cfg.Window, cfg.MaxPayload = tt.window, tt.payload
		s := relay.NewSender("w", func(string, []byte) error { return nil }, cfg, nil, slog.New(slog.DiscardHandler))
		r := s.Open(t.Context(), request(1))
		if got := r.Portion(); got != tt.want {
			t.Errorf("with a window of %d and payloads of at most %d bytes a portion is %d, want %d", tt.window, tt.payload, got, tt.want)
		}
		r.Close()
	}
}

func BenchmarkSend(b *testing.B) {
	s := relay.NewSender("w", func(string, []byte) error { return nil }, relay.DefaultConfig(), nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r := s.Open(ctx, request(1))
	id, payload := r.ID(), make([]byte, 250)
	b.ReportAllocs()
	var seq uint32
	for b.Loop() {
		send(b, r, wire.Data, payload)
		if seq++; seq%100 == 0 {
			s.Control("f", wire.Control{Kind: wire.Ack, Run: id, Received: seq, Consumed: seq})
		}
	}
	r.Close()
	cancel()
	<-done
}
