package relay_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
)

// A frontend that is cut off for longer than workers wait for it must not wait for their answers for ever.
func TestRunThatItsWorkerHasForgottenIsLost(t *testing.T) {
	for name, whileCut := range map[string]func(t *testing.T, r *relay.Run){
		"it was under way": func(*testing.T, *relay.Run) {},
		"it has ended": func(t *testing.T, r *relay.Run) {
			t.Helper()
			send(t, r, wire.Data, []byte("b"))
			send(t, r, wire.End, []byte("{}"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, cfg := &network{}, relay.DefaultConfig()
				stop := setup(t, cfg, n)
				defer stop()
				s := n.open(1, true)
				r := n.sender.Open(context.Background(), request(1))
				defer r.Close()
				send(t, r, wire.Decoding, []byte("{}"))
				time.Sleep(time.Second)
				n.isolate(true)
				whileCut(t, r)
				if r.Context().Err() == nil {
					_ = r.Send(context.Background(), wire.Data, []byte("c")) // refused by the run that has ended
				}
				time.Sleep(cfg.GiveUp + cfg.ProbeMax)
				n.isolate(false)
				time.Sleep(2 * cfg.ProbeMax)
				synctest.Wait()
				if got := s.gone(); !slices.Equal(got, []relay.RunID{{Worker: "w", Run: r.ID()}}) {
					t.Errorf("lost are %v, want the one run, once", got)
				}
			})
		})
	}
}

// Silence alone is no loss: a long prompt is computed, or the client reads slowly, or the frontend was cut off for less.
func TestRunThatItsWorkerHasIsNotLost(t *testing.T) {
	for name, during := range map[string]func(n *network, cfg *relay.Config){
		"nothing to say":     func(*network, *relay.Config) { time.Sleep(10 * time.Minute) },
		"a short separation": func(n *network, cfg *relay.Config) { n.isolate(true); time.Sleep(cfg.GiveUp / 2); n.isolate(false) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, cfg := &network{}, relay.DefaultConfig()
				stop := setup(t, cfg, n)
				defer stop()
				s := n.open(1, true)
				r := n.sender.Open(context.Background(), request(1))
				defer r.Close()
				send(t, r, wire.Decoding, []byte("{}"))
				time.Sleep(time.Second)
				during(n, &cfg)
				send(t, r, wire.Data, []byte("a"))
				send(t, r, wire.End, []byte("{}"))
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := s.gone(); len(got) != 0 {
					t.Errorf("lost are %v", got)
				}
				if got := len(s.got()); got != 3 {
					t.Errorf("%d frames came, want 3", got)
				}
			})
		})
	}
}
