package router_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

func TestClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		state   string
		run     func(h *rig) *run // nil: none
		removes bool
		cancels bool
		lingers bool
	}{
		{"queued", nil, true, false, false},
		{"prefilling", func(h *rig) *run { return h.run("p1", 1, h.job()).send(wire.Prefilling, "") }, false, true, true},
		{"handed", func(h *rig) *run { return h.run("p1", 1, h.job()).send(wire.Prefilling, "").send(wire.Handed, "") }, false, false, true},
		{"decoding", func(h *rig) *run { return h.run("d1", 1, h.job()).send(wire.Decoding, "") }, false, true, true},
	} {
		t.Run(tt.state, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				ctx, cancel := context.WithCancelCause(t.Context())
				left := errors.New("client left")
				out := h.do(ctx, request())
				var r *run
				if tt.run != nil {
					r = tt.run(h)
				}
				if got := h.r.Requests(); len(got) != 1 || got[0].State.String() != tt.state {
					t.Fatalf("in flight is %+v, want one that is %s", got, tt.state)
				}
				cancel(left)
				if err := h.now(out).err; !errors.Is(err, left) {
					t.Errorf("Do = %v, want the cause", err)
				}
				h.over(map[string]int{"cancelled": 1})
				if got := len(h.queue.gone()) == 1; got != tt.removes {
					t.Errorf("job removed = %v, want %v", got, tt.removes)
				}
				var told []string // the dispatcher that may hold the job
				if tt.removes {
					told = []string{"m " + h.job().MsgID()}
				}
				if got := h.queue.givenUp(); !slices.Equal(got, told) {
					t.Errorf("dispatchers were told of %v, want %v", got, told)
				}
				if r != nil && r.cancelled() != tt.cancels {
					t.Errorf("run cancelled = %v, want %v", r.cancelled(), tt.cancels)
				}
				if r != nil {
					late := h.run("d9", 1, &r.job).send(wire.Decoding, "")
					if !late.cancelled() {
						t.Error("a later run was not cancelled")
					}
				}
				// A decode worker needs the body to release the handle.
				_, err := h.r.Body([]byte(`{"stream":` + itoa(h.job().Stream) + `}`))
				if (err == nil) != tt.lingers {
					t.Errorf("Body = %v, want it to be there: %v", err, tt.lingers)
				}
				time.Sleep(time.Minute)
				if _, err := h.r.Body([]byte(`{"stream":` + itoa(h.job().Stream) + `}`)); err == nil {
					t.Error("the body is kept for ever")
				}
			})
		})
	}
}

func TestClientLeavesWhileTheJobIsPublished(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		h.queue.slow = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		out := h.do(ctx, request())
		cancel()
		if err := h.now(out).err; !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

func TestClientLeavesBetweenTwoAttempts(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		out := h.do(ctx, request())
		h.run("p1", 1, h.job()).send(wire.Prefilling, "").fail(wire.Failure{Reason: wire.EngineDown})
		cancel()
		if err := h.now(out).err; !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		time.Sleep(time.Minute)
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

func TestClosingEarlyCancels(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
		res := h.now(out)
		res.answer.Close()
		res.answer.Close()
		if !d.cancelled() {
			t.Error("the run goes on")
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

func TestEndedWaitIsNotTheEndOfTheAnswer(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
		a := h.now(out).answer
		defer a.Close()
		if p, err := a.Next(t.Context()); string(p) != "a" || err != nil {
			t.Fatalf("Next = %q, %v", p, err)
		}
		wait, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Next(wait); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next = %v, want the end of its context", err)
		}
		d.send(wire.Data, "b").send(wire.End, "")
		if got, err := rest(a); err != nil || !slices.Equal(got, []string{"b"}) {
			t.Errorf("rest is %q, %v", got, err)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			req := request()
			req.Deadline = time.Now().Add(10 * time.Second)
			out := h.do(t.Context(), req)
			time.Sleep(10*time.Second - 1)
			h.waits(out)
			time.Sleep(time.Nanosecond)
			wantError(t, h.now(out).err, 504, "deadline")
			if len(h.queue.gone()) != 1 {
				t.Error("the job is still queued")
			}
			h.over(map[string]int{"failed": 1})
		})
	})
	t.Run("within the answer", func(t *testing.T) {
		bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
			req := request()
			req.Deadline = time.Now().Add(10 * time.Second)
			out := h.do(t.Context(), req)
			d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
			a := h.now(out).answer
			got, err := rest(a)
			if len(got) != 1 {
				t.Errorf("answer is %q", got)
			}
			wantError(t, err, 504, "deadline")
			synctest.Wait() // the answer's error and the cancel leave the router at the same instant
			if !d.cancelled() {
				t.Error("the run goes on")
			}
			a.Close()
			h.over(map[string]int{"failed": 1})
		})
	})
}
