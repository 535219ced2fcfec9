package router_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestModelsThatNobodyServes(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		req := request()
		req.Model = "other"
		e := wantError(t, h.now(h.do(t.Context(), req)).err, 404, "model_not_found")
		if e.Message != "The model `other` does not exist." || e.Param != "model" || e.Type != "NotFoundError" {
			t.Errorf("error is %+v", e)
		}
		h.fleet.models, h.fleet.missing = nil, []string{"no worker has announced itself"}
		e = wantError(t, h.now(h.do(t.Context(), req)).err, 503, "no_worker")
		if e.RetryAfter <= 0 || !strings.Contains(e.Message, "no worker has announced itself") {
			t.Errorf("error is %+v", e)
		}
		h.over(map[string]int{})
	})
}

func TestLargeBodyIsStoredOnceAndDeleted(t *testing.T) {
	for name, refuse := range map[string]func(*wire.PrefillJob) error{
		"by configuration": nil,
		"by the server": func(j *wire.PrefillJob) error {
			if j.BodyRef == "" {
				return bus.ErrTooLarge
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := router.DefaultConfig()
			if refuse == nil {
				cfg.StoreBody = 4
			}
			bubble(t, cfg, func(t *testing.T, h *rig) {
				h.queue.refuse = refuse
				out := h.do(t.Context(), request())
				h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(wire.Failure{Reason: wire.EngineDown})
				time.Sleep(2 * time.Second)
				synctest.Wait()
				for _, j := range h.queue.all() {
					if j.BodyRef != "ref-1" || j.Body != nil {
						t.Errorf("job has reference %q and %d bytes", j.BodyRef, len(j.Body))
					}
				}
				h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "")
				h.now(out).answer.Close()
				h.over(map[string]int{"done": 1})
				time.Sleep(time.Minute)
				synctest.Wait()
				if h.bucket.size() != 0 || h.bucket.puts != 1 {
					t.Errorf("%d bodies are stored of %d, want 0 of 1", h.bucket.size(), h.bucket.puts)
				}
			})
		})
	}
}

func TestWhereBodiesTravel(t *testing.T) {
	for name, tt := range map[string]struct {
		size           int
		inline, stored bool
	}{
		"small":                           {4 << 10, true, false},
		"larger":                          {4<<10 + 1, false, false},
		"the most that one message holds": {512 << 10, false, false},
		"more than that":                  {512<<10 + 1, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				ctx, cancel := context.WithCancel(t.Context())
				req := request()
				req.Body = bytes.Repeat([]byte("x"), tt.size)
				out := h.do(ctx, req)
				job := h.queue.all()[0]
				if got := len(job.Body) > 0; got != tt.inline {
					t.Errorf("the body travels in the job: %v, want %v", got, tt.inline)
				}
				if got := job.BodyRef != ""; got != tt.stored || (h.bucket.size() > 0) != tt.stored {
					t.Errorf("the body is stored: %v, want %v", got, tt.stored)
				}
				if job.BodySize != tt.size || job.Digest != wire.BodyDigest(req.Body) {
					t.Errorf("job is %+v", job)
				}
				// Who runs it may ask here in any case.
				if body, err := h.r.Body([]byte(`{"stream":` + itoa(job.Stream) + `}`)); err != nil || !bytes.Equal(body, req.Body) {
					t.Errorf("Body = %d bytes, %v", len(body), err)
				}
				cancel()
				<-out
			})
		})
	}
}

func TestQueueThatRefuses(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			h.queue.refuse = func(*wire.PrefillJob) error { return bus.ErrFull }
			e := wantError(t, h.now(h.do(t.Context(), request())).err, 429, "rate_limit_exceeded")
			if e.RetryAfter < time.Second {
				t.Errorf("RetryAfter = %v", e.RetryAfter)
			}
			h.over(map[string]int{"failed": 1})
		})
	})
	t.Run("for a moment", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			down := time.Now().Add(5 * time.Second)
			h.queue.refuse = func(*wire.PrefillJob) error {
				if time.Now().Before(down) {
					return errors.New("no responders")
				}
				return nil
			}
			out := h.do(t.Context(), request())
			time.Sleep(7 * time.Second)
			h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "")
			h.now(out).answer.Close()
			h.over(map[string]int{"done": 1})
		})
	})
	t.Run("for long", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			h.queue.refuse = func(*wire.PrefillJob) error { return errors.New("no responders") }
			out := h.do(t.Context(), request())
			time.Sleep(20 * time.Second)
			if e := wantError(t, h.now(out).err, 503, "queue_unreachable"); strings.Contains(e.Message, "responders") {
				t.Errorf("the client is told what the server's library says: %s", e.Message)
			}
			h.over(map[string]int{"failed": 1})
		})
	})
}

func TestDrainWaitsForAnswers(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		if err := h.r.Drain(t.Context()); err != nil {
			t.Errorf("Drain of nothing = %v", err)
		}
		out := h.do(t.Context(), request())
		h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a").send(wire.End, "")
		a := h.now(out).answer
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.r.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain = %v, want it to wait for the answer", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- h.r.Drain(t.Context()) }()
		synctest.Wait()
		a.Close()
		if err := <-drained; err != nil {
			t.Errorf("Drain = %v", err)
		}
	})
}

func TestStoppedRouterEndsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRig(t, router.DefaultConfig())
		out := h.do(t.Context(), request())
		h.end()
		wantError(t, h.now(out).err, 503, "shutting_down")
		wantError(t, h.now(h.do(t.Context(), request())).err, 503, "shutting_down")
		h.over(map[string]int{"failed": 2})
	})
}
