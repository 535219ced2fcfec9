package router_test

import (
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// lookedFor is a time in which a queued job is looked for more than twice.
const lookedFor = 10 * time.Second

// A job that the queue has forgotten is queued again, more often than a request may fail, and whoever comes with the
// one before is fenced off.
func TestJobThatTheQueueLosesIsQueuedAgain(t *testing.T) {
	cfg := router.DefaultConfig()
	bubble(t, cfg, func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		first := *h.job()
		for range cfg.Attempts + 1 {
			h.queue.lose()
			time.Sleep(lookedFor)
			h.waits(out)
		}
		jobs := h.queue.all()
		if len(jobs) != cfg.Attempts+2 {
			t.Fatalf("queued %d times, want %d", len(jobs), cfg.Attempts+2)
		}
		stale := h.run("d1", 1, &first).send(wire.Decoding, wholly).send(wire.Data, `{"of":"the lost one"}`)
		if !stale.cancelled() {
			t.Error("a run of the lost job goes on")
		}
		h.waits(out)
		h.run("d1", 2, h.job()).send(wire.Decoding, wholly).send(wire.Data, `{"a":1}`).send(wire.End, "")
		res := h.now(out)
		if res.err != nil {
			t.Fatal(res.err)
		}
		if got, err := rest(res.answer); err != nil || len(got) != 1 || got[0] != `{"a":1}` {
			t.Errorf("the answer is %q, %v", got, err)
		}
		res.answer.Close()
		if n := len(h.queue.givenUp()); n != cfg.Attempts+1 {
			t.Errorf("the dispatchers hear of %d jobs that nobody wants, want %d", n, cfg.Attempts+1)
		}
		if got := h.queue.gone(); len(got) != 0 {
			t.Errorf("removed %v from the queue, where these numbers may be other jobs' by now", got)
		}
		h.over(map[string]int{"done": 1})
	})
}

func TestJobThatIsThereOrTakenIsNotQueuedAgain(t *testing.T) {
	for name, begin := range map[string]func(h *rig){
		"queued": func(*rig) {},
		"prefilling": func(h *rig) {
			h.run("p1", 1, h.job()).send(wire.Prefilling, splitly)
			h.queue.lose() // as when its worker is done with it
		},
		"decoding": func(h *rig) {
			h.run("d1", 1, h.job()).send(wire.Decoding, wholly)
			h.queue.lose()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), request())
				begin(h)
				time.Sleep(time.Minute)
				h.waits(out)
				if n := len(h.queue.all()); n != 1 {
					t.Errorf("queued %d times, want once", n)
				}
			})
		})
	}
}

// A frame that says who has a job may come a moment after the job has left the queue.
func TestJobThatIsMissedOnceIsNotLost(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		h.queue.lose()
		time.Sleep(lookedFor / 2)
		h.run("d1", 1, h.job()).send(wire.Decoding, wholly)
		time.Sleep(time.Minute)
		h.waits(out)
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("queued %d times, want once", n)
		}
	})
}

// A bucket in the memory of a server is empty after its restart.
func TestBodyThatIsGoneFromTheBucketIsStoredAgain(t *testing.T) {
	cfg := router.DefaultConfig()
	cfg.StoreBody = 1
	bubble(t, cfg, func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		first := h.job().BodyRef
		h.run("d1", 1, h.job()).send(wire.Decoding, wholly).fail(wire.Failure{Reason: wire.BodyGone, Message: "no such object"})
		time.Sleep(time.Second)
		h.waits(out)
		if again := h.job().BodyRef; again == "" || again == first {
			t.Errorf("the second try's body is %q, the first one's %q", again, first)
		}
	})
}
