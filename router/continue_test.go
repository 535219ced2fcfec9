package router_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/resume"
)

// continuable is a completion whose stream can be continued.
func continuable() *router.Request {
	req := request()
	req.Body = []byte(`{"model":"m","prompt":"p","max_tokens":9,"stream":true}`)
	req.PromptTokens, req.MaxTokens = 3, 9
	object, err := rawjson.Parse(req.Body)
	if err != nil {
		panic(err)
	}
	req.Resume = resume.TermsOf(false, object)
	return req
}

// word is an event of an engine that counts; end is a finish_reason in quotes or null.
func word(id, text, end string, prompt, tokens int) string {
	return fmt.Sprintf("data: "+`{"id":%q,"created":1,"choices":[{"index":0,"text":%q,"finish_reason":%s}],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}}`+"\n\n",
		id, text, end, prompt, prompt+tokens, tokens)
}

// texts joins the text of the events, all of which are of answer "x".
func texts(t *testing.T, pieces []string) (all string) {
	t.Helper()
	data, rest := []byte(nil), []byte(strings.Join(pieces, ""))
	for len(rest) > 0 {
		data, rest = sse.Cut(rest)
		var e struct {
			ID      string
			Choices []struct{ Text string }
			Usage   json.RawMessage
		}
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatalf("event %s: %v", data, err)
		}
		if e.ID != "x" || e.Usage != nil {
			t.Errorf("the client gets %s", data)
		}
		for _, c := range e.Choices {
			all += c.Text
		}
	}
	return all
}

func TestStreamThatBreaksOffGoesOn(t *testing.T) {
	for _, reason := range []wire.Reason{wire.EngineDown, wire.EngineError, wire.EngineTimeout, wire.WorkerStopping} {
		t.Run(string(reason), func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				req := continuable()
				out := h.do(t.Context(), req)
				if !h.job().Counts {
					t.Error("the engine is not asked for its counts")
				}
				first := h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", "null", 3, 1)).send(wire.Data, word("x", " b c", "null", 3, 3))
				if now := h.r.Requests(); len(now) != 1 || now[0].Sent != 3 {
					t.Errorf("in flight is %+v, want 3 tokens sent", now)
				}
				first.fail(wire.Failure{Reason: reason, Message: "no"})
				res := h.now(out)
				done := make(chan struct{})
				var got []string
				var err error
				go func() {
					defer close(done)
					got, err = rest(res.answer)
				}()
				time.Sleep(2 * time.Second)
				jobs := h.queue.all()
				if len(jobs) != 2 {
					t.Fatalf("%d jobs, want 2", len(jobs))
				}
				job := &jobs[1]
				body := `{"model":"m","prompt":"p a b c","max_tokens":6,"stream":true}`
				if string(job.Body) != body || job.Digest != wire.BodyDigest([]byte(body)) || job.BodySize != len(body) {
					t.Errorf("body is %s (%d bytes), want %s", job.Body, job.BodySize, body)
				}
				if job.Attempt != 2 || job.PromptTokens != 6 || job.MaxTokens != 6 || !job.Admitted.After(jobs[0].Admitted) {
					t.Errorf("job is %+v", job.Request)
				}
				// A worker that was thought dead has no say any more, nor has another run of its job.
				first.send(wire.Data, word("x", " wrong", "null", 3, 4))
				late := h.run("d3", 1, &jobs[0].Request).send(wire.Decoding, wholly).send(wire.Data, word("x", " wrong", "null", 3, 1))
				if !late.cancelled() {
					t.Error("a run of an old attempt was not cancelled")
				}
				// One that gives the job back before its engine has begun is followed by another.
				h.run("d4", 1, h.job()).send(wire.Decoding, wholly)
				h.run("p1", 1, h.job()).send(wire.Prefilling, splitly).send(wire.Handed, handed(wire.HandedInfo{DecodeWorker: "d2"}))
				second := h.run("d2", 1, h.job()).send(wire.Decoding, splitly).send(wire.Data, word("y", " d", "null", 6, 1))
				second.send(wire.Data, word("y", " e", `"length"`, 6, 6)).send(wire.End, finish(wire.EndInfo{PromptTokens: 6, CompletionTokens: 6}))
				<-done
				if text := texts(t, got); err != nil || text != " a b c d e" {
					t.Errorf("text is %q, %v", text, err)
				}
				if u := res.answer.Usage(); u.PromptTokens != 3 || u.CompletionTokens != 9 {
					t.Errorf("usage is %+v, want 3 and 9", u)
				}
				res.answer.Close()
				if past := h.r.Past(1); past[0].Sent != 9 {
					t.Errorf("remembered is %+v, want 9 tokens sent", past[0])
				}
				h.over(map[string]int{"done": 1})
			})
		})
	}
}

func TestContinuingIsBounded(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), continuable())
		failing := func(n int) {
			h.run("d1", uint64(n), h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", "null", 3+n, 1)).fail(wire.Failure{Reason: wire.EngineDown, Message: "boom"})
		}
		failing(0)
		res := h.now(out)
		done := make(chan error, 1)
		go func() {
			got, err := rest(res.answer)
			if text := texts(t, got); text != " a a a" {
				t.Errorf("text is %q", text)
			}
			done <- err
		}()
		for n := range 2 {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			failing(n + 1)
		}
		e := wantError(t, <-done, 503, "engine_down")
		if !strings.Contains(e.Message, "3 times") {
			t.Errorf("message is %q", e.Message)
		}
		res.answer.Close()
		h.over(map[string]int{"failed": 1})
	})
}

// What comes does not continue the answer: the client gets none of it.
func TestRunThatDoesNotContinueEndsTheStream(t *testing.T) {
	for name, data := range map[string]string{"another form": `{}`, "no counts": `{"id":"y","created":1,"choices":[{"index":0,"text":"a","finish_reason":null}]}`} {
		t.Run(name, func(t *testing.T) {
			bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
				out := h.do(t.Context(), continuable())
				h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", "null", 3, 1)).fail(wire.Failure{Reason: wire.EngineDown, Message: "boom"})
				res := h.now(out)
				done := make(chan error, 1)
				go func() {
					_, err := rest(res.answer)
					done <- err
				}()
				time.Sleep(2 * time.Second)
				second := h.run("d2", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, data)
				wantError(t, <-done, 503, "engine_down")
				if !second.cancelled() {
					t.Error("the run was not cancelled")
				}
				res.answer.Close()
				h.over(map[string]int{"failed": 1})
			})
		})
	}
}

// What comes before it in the same frame does continue the answer: the client gets that.
func TestRunThatContinuesNoLongerEndsTheStream(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), continuable())
		h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", "null", 3, 1)+word("x", " b", "null", 3, 2)).fail(wire.Failure{Reason: wire.EngineDown, Message: "boom"})
		res := h.now(out)
		done := make(chan error, 1)
		go func() {
			got, err := rest(res.answer)
			if text := texts(t, got); text != " a b c d" {
				t.Errorf("text is %q", text)
			}
			done <- err
		}()
		time.Sleep(2 * time.Second)
		second := h.run("d2", 1, h.job()).send(wire.Decoding, wholly)
		second.send(wire.Data, word("y", " c", "null", 5, 1)+word("y", " d", "null", 5, 2)+"data: {}\n\n"+word("y", " e", "null", 5, 3))
		wantError(t, <-done, 503, "engine_down")
		if !second.cancelled() {
			t.Error("the run was not cancelled")
		}
		res.answer.Close()
		h.over(map[string]int{"failed": 1})
	})
}

func TestStreamThatLostOnlyItsEndIsComplete(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), continuable())
		h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", `"stop"`, 3, 1)).fail(wire.Failure{Reason: wire.EngineDown, Message: "boom"})
		res := h.now(out)
		if got, err := rest(res.answer); err != nil || len(got) != 1 {
			t.Errorf("answer is %q, %v", got, err)
		}
		if u := res.answer.Usage(); u.PromptTokens != 3 || u.CompletionTokens != 1 {
			t.Errorf("usage is %+v, want 3 and 1", u)
		}
		res.answer.Close()
		h.over(map[string]int{"done": 1})
	})
}

// A client that is slow gets what came before the break, and only then does the rest begin.
func TestClientThatLeavesWhileItsAnswerIsContinued(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		req := continuable()
		out := h.do(t.Context(), req)
		h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", "null", 3, 1)).fail(wire.Failure{Reason: wire.EngineDown, Message: "boom"})
		res := h.now(out)
		res.answer.Close()
		time.Sleep(time.Minute)
		if n := len(h.queue.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		h.over(map[string]int{"cancelled": 1})
	})
}

// The body of an answer that is continued takes the place of the client's where workers ask for it.
func TestBodyThatContinuesIsKeptWhereTheClientsWas(t *testing.T) {
	for name, change := range map[string]func(*router.Config){
		"asked for": func(c *router.Config) { c.InlineBody = 0 },
		"stored":    func(c *router.Config) { c.StoreBody = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := router.DefaultConfig()
			change(&cfg)
			bubble(t, cfg, func(t *testing.T, h *rig) {
				out := h.do(t.Context(), continuable())
				h.run("d1", 1, h.job()).send(wire.Decoding, wholly).send(wire.Data, word("x", " a", "null", 3, 1)).fail(wire.Failure{Reason: wire.EngineDown, Message: "boom"})
				res := h.now(out)
				done := make(chan error, 1)
				go func() {
					_, err := rest(res.answer)
					done <- err
				}()
				time.Sleep(2 * time.Second)
				job := h.job()
				var body []byte
				if job.BodyRef != "" {
					h.bucket.mu.Lock()
					body = slices.Clone(h.bucket.bodies[job.BodyRef])
					h.bucket.mu.Unlock()
				} else {
					var err error
					if body, err = h.r.Body([]byte(fmt.Sprintf(`{"stream":%d}`, job.Stream))); err != nil {
						t.Error(err)
					}
				}
				if wire.BodyDigest(body) != job.Digest {
					t.Errorf("body is %s", body)
				}
				h.run("d2", 1, job).send(wire.Decoding, wholly).send(wire.Data, word("y", " b", `"stop"`, 4, 1)).send(wire.End, "")
				if err := <-done; err != nil {
					t.Error(err)
				}
				res.answer.Close()
				time.Sleep(time.Minute)
				h.over(map[string]int{"done": 1})
				if n := h.bucket.size(); n != 0 {
					t.Errorf("%d bodies are still stored", n)
				}
			})
		})
	}
}
