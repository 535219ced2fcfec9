package router_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// A worker that heard nothing of the frontend for too long has given its requests up.
func TestRequestThatItsWorkerHasNoMoreIsTriedAgain(t *testing.T) {
	for name, begin := range map[string]func(h *rig) *run{
		"while prefilling":      func(h *rig) *run { return h.run("w", 1, h.job()).send(wire.Prefilling, splitly) },
		"while decoding":        func(h *rig) *run { return h.run("w", 1, h.job()).send(wire.Decoding, splitly) },
		"while doing it wholly": func(h *rig) *run { return h.run("w", 1, h.job()).send(wire.Decoding, wholly) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				r := begin(h)
				h.recv.lose(relay.RunID{Worker: "another", Run: 1}, &r.job)
				h.recv.lose(r.id, &r.job)
				h.againOnce(t, out)
				if got := h.queue.gone(); !slices.Equal(got, []uint64{1}) {
					t.Errorf("removed jobs %v, want that of the first try: it may have gone back to the queue", got)
				}
			})
		})
	}
}

// What happens to jobs, bodies and messages on their way says nothing of a request.
func TestOnlyWhatEnginesDoUsesTriesUp(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		again := func(why wire.Reason) {
			h.run("d", uint64(len(h.queue.all())), h.job()).send(wire.Decoding, wholly).fail(wire.Failure{Reason: why, Message: "no"})
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		for range 3 {
			for _, why := range []wire.Reason{wire.BodyGone, wire.WorkerStopping, wire.HandleUsed} {
				again(why)
			}
		}
		again(wire.EngineError)
		again(wire.EngineDown)
		h.waits(out)
		again(wire.EngineError)
		wantError(t, h.now(out).err, 502, "engine_error")
		h.over(map[string]int{"failed": 1})
	})
}

func TestTriesHaveAnEnd(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		for range 64 {
			h.run("d", 1, h.job()).send(wire.Decoding, wholly).fail(wire.Failure{Reason: wire.BodyGone, Message: "no"})
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		wantError(t, h.now(out).err, 502, "body_gone")
		h.over(map[string]int{"failed": 1})
	})
}

// A long stream may meet any number of restarts, as long as it comes on between them.
func TestTriesThatBringAGoodPartAreNotCounted(t *testing.T) {
	for _, tt := range []struct {
		pieces, tries int
		together      bool // in one frame
	}{{pieces: 16, tries: 10}, {pieces: 15, tries: 3}, {pieces: 16, tries: 10, together: true}} {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			req := continuable()
			req.MaxTokens = 1000
			req.Body = []byte(`{"model":"m","prompt":"p","max_tokens":1000,"stream":true}`)
			out := h.do(t.Context(), req)
			over := make(chan error, 1)
			for n := range tt.tries {
				if len(h.queue.all()) != n+1 {
					t.Fatalf("of %d pieces each: %d tries before the %dth", tt.pieces, len(h.queue.all()), n+1)
				}
				r := h.run("d", uint64(n), h.job()).send(wire.Decoding, wholly)
				frame := ""
				for i := range tt.pieces {
					if frame += word("x", " a", "null", 3+n*tt.pieces, i+1); !tt.together || i == tt.pieces-1 {
						r.send(wire.Data, frame)
						frame = ""
					}
				}
				r.fail(wire.Failure{Reason: wire.EngineDown, Message: "no"})
				if n == 0 {
					res := h.now(out)
					go func() {
						_, err := rest(res.answer)
						res.answer.Close()
						over <- err
					}()
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
			}
			if failed, want := len(over) == 1, tt.pieces < 16; failed != want {
				t.Errorf("of %d pieces each: failed after %d tries is %t, want %t", tt.pieces, tt.tries, failed, want)
			}
			if len(over) == 0 {
				h.run("d", 99, h.job()).send(wire.Decoding, wholly).fail(wire.Failure{Reason: wire.EngineRejected})
			}
			<-over
		})
	}
}
