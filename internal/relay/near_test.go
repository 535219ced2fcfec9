package relay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
)

// beside puts both ends into one process.
func (n *network) beside() {
	var near relay.Near
	near.Add(n.receiver)
	n.sender.Beside(&near)
}

// What the client reads at once needs no message, and nothing of it is kept.
func TestFramesToAFrontendOfTheSameProcessAreCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		stop := setup(t, relay.DefaultConfig(), n)
		defer stop()
		n.beside()
		s := n.open(1, true)
		run := n.sender.Open(context.Background(), request(1))
		defer run.Close()
		send(t, run, wire.Decoding, nil)
		send(t, run, wire.Data, []byte("a"))
		if err := run.SendAhead(context.Background(), wire.Data, []byte("b")); err != nil {
			t.Fatal(err)
		}
		send(t, run, wire.End, nil)
		text := ""
		for _, f := range s.got() {
			text += string(f.Payload)
		}
		if got := s.got(); len(got) != 4 || text != "ab" || got[3].Kind != wire.End {
			t.Errorf("before Send returned there were %d frames with %q", len(got), text)
		}
		time.Sleep(time.Minute) // of the bubble: probes and acknowledgements would have come
		if n.published() != 0 || len(s.got()) != 4 {
			t.Errorf("%d batches were published, and %d frames came", n.published(), len(s.got()))
		}
	})
}

// A client that does not read stalls its worker at the window, and is waited for however long it takes.
func TestASlowClientOfTheSameProcessIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := relay.DefaultConfig()
		cfg.Window = 3
		n := &network{}
		stop := setup(t, cfg, n)
		defer stop()
		n.beside()
		s := n.open(1, false)
		run := n.sender.Open(context.Background(), request(1))
		defer run.Close()
		for range 3 {
			send(t, run, wire.Data, []byte("x"))
		}
		sent := make(chan error)
		go func() { sent <- run.Send(context.Background(), wire.Data, []byte("y")) }()
		time.Sleep(10 * cfg.GiveUp)
		select {
		case err := <-sent:
			t.Fatalf("the fourth of three bytes was sent: %v", err)
		default:
		}
		n.receiver.Consumed(s.ids[0], 1)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if got := s.got(); len(got) != 4 || run.Context().Err() != nil {
			t.Errorf("%d frames came, the run is %v", len(got), context.Cause(run.Context()))
		}
	})
}

// A run whose answer nobody waits for is cancelled as from afar, and so is one that its sink does not want.
func TestARunOfTheSameProcessIsCancelled(t *testing.T) {
	for name, unwanted := range map[string]func(*network){
		"no such stream": func(*network) {},
		"not adopted":    func(n *network) { n.open(1, true).keep = false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{}
				stop := setup(t, relay.DefaultConfig(), n)
				defer stop()
				n.beside()
				unwanted(n)
				run := n.sender.Open(context.Background(), request(1))
				defer run.Close()
				send(t, run, wire.Decoding, nil)
				<-run.Context().Done()
				if err := context.Cause(run.Context()); !errors.Is(err, relay.ErrCancelled) {
					t.Errorf("the run ended with %v", err)
				}
			})
		})
	}
}

// Frames stay in order when the first of them have to take the long way.
func TestFramesStayInOrderWhateverWayTheyTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		stop := setup(t, relay.DefaultConfig(), n)
		defer stop()
		n.beside()
		run := n.sender.Open(context.Background(), request(1))
		defer run.Close()
		send(t, run, wire.Data, []byte{0}) // nobody waits yet: it takes the long way
		s := n.open(1, true)
		for i := range byte(50) {
			send(t, run, wire.Data, []byte{i + 1})
			if i == 20 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		send(t, run, wire.End, nil)
		time.Sleep(time.Minute)
		got := s.got()
		if len(got) != 52 {
			t.Fatalf("%d frames came, want 52", len(got))
		}
		for i, f := range got[:51] {
			if int(f.Payload[0]) != i {
				t.Fatalf("frame %d is the one of %d", i, f.Payload[0])
			}
		}
	})
}
