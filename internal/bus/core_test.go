package bus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/prometheus/client_golang/prometheus"
)

func TestLargeBodyTakesTheClaimCheck(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		body := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
		ref, err := f.bus.PutBody(f.Context(), body)
		if err != nil {
			f.Fatal(err)
		}
		got, err := f.bus.GetBody(f.Context(), ref)
		if err != nil || !bytes.Equal(got, body) {
			f.Fatalf("GetBody = %d bytes, %v", len(got), err)
		}
		for range 2 {
			if err := f.bus.DeleteBody(f.Context(), ref); err != nil {
				f.Error(err)
			}
		}
		if _, err := f.bus.GetBody(f.Context(), ref); !errors.Is(err, bus.ErrNoBody) {
			f.Errorf("GetBody after DeleteBody = %v, want ErrNoBody", err)
		}
	})
}

func TestRequestIsAnsweredRefusedOrAlone(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		stop, err := f.bus.Answer("baton.body.f1", func(req []byte) ([]byte, error) {
			if string(req) == "gone" {
				return nil, errors.New("request is over")
			}
			return append([]byte("body of "), req...), nil
		})
		if err != nil {
			f.Fatal(err)
		}
		if got, err := f.bus.Request(f.Context(), "baton.body.f1", []byte("7")); err != nil || string(got) != "body of 7" {
			f.Errorf("Request = %q, %v", got, err)
		}
		_, err = f.bus.Request(f.Context(), "baton.body.f1", []byte("gone"))
		if remote, ok := errors.AsType[bus.RemoteError](err); !ok || remote != "request is over" {
			f.Errorf("Request = %v, want the other side's error", err)
		}
		stop()
		if _, err := f.bus.Request(f.Context(), "baton.body.f1", nil); !errors.Is(err, bus.ErrNoResponder) {
			f.Errorf("Request = %v, want ErrNoResponder", err)
		}
	})
}

func TestSubscribersHearWhatIsPublishedInOrder(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		heard := make(chan string, 3)
		stop, err := f.bus.Subscribe("baton.frames.f1", func(data []byte) { heard <- string(data) })
		if err != nil {
			f.Fatal(err)
		}
		defer stop()
		for _, s := range []string{"a", "b", "c"} {
			if err := f.bus.Publish("baton.frames.f1", []byte(s)); err != nil {
				f.Fatal(err)
			}
		}
		if got := <-heard + <-heard + <-heard; got != "abc" {
			f.Errorf("heard %q", got)
		}
	})
}

// withoutJetStream runs test in a bubble with a server that has no JetStream.
func withoutJetStream(t *testing.T, test func(t *testing.T, s *natsd.Server)) {
	t.Helper()
	natsdtest.Bubble(t, func(t *testing.T) {
		cfg := natsd.DefaultConfig()
		cfg.NoJetStream = true
		s, err := natsd.Start(cfg, quiet)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(t, s)
	})
}

// A process that only listens and asks makes nothing at the server, which need not have JetStream.
func TestDialNeedsNoJetStream(t *testing.T) {
	withoutJetStream(t, func(t *testing.T, s *natsd.Server) {
		b, err := bus.Dial(t.Context(), bus.DefaultConfig(), "test", s, prometheus.NewRegistry(), quiet)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		stop, err := b.Answer("baton.role.w", func([]byte) ([]byte, error) { return []byte("both"), nil })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if got, err := b.Request(t.Context(), "baton.role.w", []byte("prefill")); err != nil || string(got) != "both" {
			t.Errorf("Request = %q, %v", got, err)
		}
	})
}

func TestServerWithoutJetStreamIsExplained(t *testing.T) {
	withoutJetStream(t, func(t *testing.T, s *natsd.Server) {
		_, err := bus.Connect(t.Context(), bus.DefaultConfig(), "test", s, prometheus.NewRegistry(), quiet)
		if !errors.Is(err, bus.ErrNoJetStream) || !strings.Contains(err.Error(), "nats-server -js") {
			t.Errorf("Connect = %v, want ErrNoJetStream and what to do", err)
		}
	})
}

func TestUnreachableServerIsNamedWithoutItsPassword(t *testing.T) {
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.ConnectTimeout = "nats://user:secret@127.0.0.1:1", 100*time.Millisecond
	_, err := bus.Connect(t.Context(), cfg, "test", nil, prometheus.NewRegistry(), quiet)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "secret") {
		t.Errorf("Connect = %v", err)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	if err := bus.DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	err := bus.Config{Storage: "tape"}.Validate()
	for _, name := range []string{"nats.url", "nats.storage", "nats.replicas", "nats.body_ttl", "nats.prefill_queue.max_msgs", "nats.decode_queue.ack_wait"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Validate = %v, does not name %s", err, name)
		}
	}
}

// What a process publishes to a subject of its own does not go to the server; what others publish comes from there.
func TestOwnSubjectsAreHeardWithoutTheServer(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		other, err := bus.Dial(f.Context(), bus.DefaultConfig(), "other", f.server, prometheus.NewRegistry(), quiet)
		if err != nil {
			f.Fatal(err)
		}
		defer other.Close()
		heard := make(chan string, 3)
		stop, err := f.bus.SubscribeOwn("baton.frames.f1", func(data []byte) { heard <- string(data) })
		if err != nil {
			f.Fatal(err)
		}
		if err := f.bus.Publish("baton.frames.f1", []byte("ours")); err != nil {
			f.Fatal(err)
		}
		select {
		case got := <-heard:
			if got != "ours" {
				f.Errorf("heard %q", got)
			}
		default:
			f.Error("Publish to a subject of this process returned before it was heard")
		}
		if err := other.Publish("baton.frames.f1", []byte("theirs")); err != nil {
			f.Fatal(err)
		}
		if got := <-heard; got != "theirs" {
			f.Errorf("heard %q, want what the other process published, once", got)
		}
		stop()
		if err := f.bus.Publish("baton.frames.f1", []byte("late")); err != nil {
			f.Fatal(err)
		}
		synctest.Wait()
		if len(heard) > 0 {
			f.Errorf("heard %q after the end", <-heard)
		}
	})
}

func TestServerSaysThatNobodyListens(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		got := make(chan []byte, 2)
		stop, err := f.bus.Subscribe("baton.control.d.1", func(data []byte) { got <- data })
		if err != nil {
			f.Fatal(err)
		}
		ask := func() bool {
			ctx, cancel := context.WithTimeout(f.Context(), time.Second)
			defer cancel()
			return f.bus.Deserted(ctx, "baton.control.d.1", []byte("x"))
		}
		if ask() || len(got) != 1 {
			f.Errorf("somebody listens, who got %d messages, and it counts as deserted", len(got))
		}
		stop()
		begin := time.Now()
		if !ask() || time.Since(begin) >= time.Second {
			f.Errorf("nobody listens, and that was not said at once but after %s", time.Since(begin))
		}
	})
}
