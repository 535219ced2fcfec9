package enginesim

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSplitAnswerProvesItsPath(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start("prefill", nil), r.start("decode", nil)
		body := completion(words("abc", 100), 40, "")
		handle := p.prefill(words("abc", 100))
		if got := p.Stats().PinnedBlocks; got != 7 {
			t.Errorf("%d blocks wait for the reader of 100 tokens, want 7", got)
		}
		got := d.must(pathCompletions, completion(words("abc", 100), 40, handle))
		if want := proofOf(t, pathCompletions, body, 40); got.text() != want {
			t.Errorf("text %q, want %q", got.text(), want)
		}
		if st := p.Stats(); st.Consumed != 1 || st.Expired != 0 {
			t.Errorf("prefill engine counts %+v, want one read", st)
		}
		if st := d.Stats(); st.Pulled != 1 || st.Iterations != 40 {
			t.Errorf("decode engine counts %+v, want one pull and an iteration per token", st)
		}
		p.clean()
		d.clean()
	})
}

// A crossed handle gives the other prompt's text, with status 200.
func TestCrossedHandleGivesTheOtherText(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start("prefill", nil), r.start("decode", nil)
		one, two := words("one", 50), words("two", 50)
		p.prefill(one)
		ofTwo := p.prefill(two)
		got := d.must(pathCompletions, completion(one, 10, ofTwo))
		if want := proofOf(t, pathCompletions, completion(two, 10, ""), 10); got.status != 200 || got.text() != want {
			t.Errorf("status %d, text %q, want that of the other prompt", got.status, got.text())
		}
	})
}

func TestSecondReadGivesWrongText(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start("prefill", nil), r.start("decode", nil)
		handle := p.prefill(words("abc", 50))
		body := completion(words("abc", 50), 10, handle)
		want := proofOf(t, pathCompletions, body, 10)
		if got := d.must(pathCompletions, body); got.text() != want {
			t.Errorf("first read gives %q, want %q", got.text(), want)
		}
		if got := d.must(pathCompletions, body); got.status != 200 || got.text() == want {
			t.Errorf("second read gives status %d, %q", got.status, got.text())
		}
		if st := p.Stats(); st.StaleReads != 1 {
			t.Errorf("stale reads = %d, want 1", st.StaleReads)
		}
	})
}

func TestExpiredHandleGivesTheTextOfWhoHasTheBlocksNow(t *testing.T) {
	inBubble(t, func(r *rig) {
		small := func(c *Config) { c.KVTokens = 64 }
		p, d := r.start("prefill", small), r.start("decode", nil)
		stale := p.prefill(words("abc", 60))
		pass(29 * time.Second)
		if st := p.Stats(); st.Expired != 0 || st.PinnedBlocks != 4 {
			t.Errorf("before the lease ends: %+v", st)
		}
		pass(2 * time.Second)
		if st := p.Stats(); st.Expired != 1 || st.PinnedBlocks != 0 {
			t.Errorf("after the lease: %+v", st)
		}
		p.prefill(words("new", 60))
		got := d.must(pathCompletions, completion(words("abc", 60), 10, stale))
		if want := proofOf(t, pathCompletions, completion(words("new", 60), 10, ""), 10); got.text() != want {
			t.Errorf("text %q, want that of the prompt that has the blocks now, %q", got.text(), want)
		}
	})
}

// A decode engine that has the request renews the lease for as long as the request waits.
func TestWaitingRequestKeepsItsLease(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start("prefill", nil), r.start("decode", func(c *Config) { c.MaxSeqs = 1 })
		busy := make(chan answered, 1)
		go func() { busy <- d.must(pathCompletions, completion("x", 6000, "")) }() // about 90 s
		pass(time.Second)
		body := completion(words("abc", 50), 5, p.prefill(words("abc", 50)))
		got := d.must(pathCompletions, body)
		if want := proofOf(t, pathCompletions, body, 5); got.text() != want || p.Stats().Expired != 0 {
			t.Errorf("text %q, want %q; %d leases expired", got.text(), want, p.Stats().Expired)
		}
		<-busy
	})
}

func TestClientThatLeavesFreesBothSides(t *testing.T) {
	for name, after := range map[string]time.Duration{
		"while it waits": 0, "during the transfer": 1050 * time.Millisecond, "while it decodes": 3 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				p := r.start("prefill", nil)
				d := r.start("decode", func(c *Config) { c.MaxSeqs, c.HandoverLatency = 1, time.Second })
				handle := p.prefill(words("abc", 50))
				go func() {
					ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
					defer cancel()
					_, _ = d.post(ctx, pathCompletions, completion("x", 5000, ""))
				}()
				pass(100 * time.Millisecond)
				ctx, cancel := context.WithTimeout(r.t.Context(), 200*time.Millisecond+after)
				defer cancel()
				if _, err := d.post(ctx, pathCompletions, completion(words("abc", 50), 5000, handle)); err == nil {
					t.Error("the request ended before its client left")
				}
				pass(2 * time.Second)
				p.clean()
				d.clean()
				if st := p.Stats(); st.Expired != 0 || st.Consumed+st.Released != 1 {
					t.Errorf("prefill engine counts %+v, want the handle read or given up", st)
				}
				if st := d.Stats(); st.Aborted != 2 {
					t.Errorf("aborted = %d, want 2", st.Aborted)
				}
			})
		})
	}
}

// Transfers out of one engine go one after the other, and so do those into one.
func TestTransferTimeIsBytesOverBandwidthInTurn(t *testing.T) {
	for _, engines := range []struct{ prefill, decode int }{{1, 1}, {1, 2}, {2, 1}} {
		inBubble(t, func(r *rig) {
			slow := func(c *Config) {
				c.KVBytesPerToken, c.TransferGBps, c.HandoverLatency = 1e7, 1, 100*time.Millisecond
			}
			var p, d []*sim
			for range engines.prefill {
				p = append(p, r.start("prefill", slow))
			}
			for range engines.decode {
				d = append(d, r.start("decode", slow))
			}
			prompts := []string{words("abc", 100), words("xyz", 100)}
			var handles []string
			for i, prompt := range prompts {
				handles = append(handles, p[i%len(p)].prefill(prompt))
			}
			begun, took := time.Now(), make(chan time.Duration, 2)
			for i, prompt := range prompts {
				go func() {
					d[i%len(d)].must(pathCompletions, completion(prompt, 1, handles[i]))
					took <- time.Since(begun)
				}()
				time.Sleep(time.Millisecond) // so that both links see the same one first
			}
			for _, want := range []time.Duration{1100 * time.Millisecond, 2100 * time.Millisecond} { // 1 GB each
				if got := <-took; got < want || got > want+50*time.Millisecond {
					t.Errorf("%+v: answer after %v, want %v and a decode step", engines, got, want)
				}
			}
		})
	}
}

func TestBrokenTransfers(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start("prefill", nil), r.start("decode", nil)
		handle := p.prefill(words("abc", 50))
		p.SetFaults(Faults{RefuseTransfer: true})
		got := d.must(pathCompletions, completion(words("abc", 50), 10, handle))
		if got.status != 500 || got.Error == nil || got.Error.Code != 500 {
			t.Errorf("refused: %d %s", got.status, got.raw)
		}
		synctest.Wait()
		streamed := d.must(pathCompletions, completion(words("abc", 50), 10, `,"stream":true`+handle))
		if streamed.status != 200 || len(streamed.events) != 2 || !strings.HasPrefix(string(streamed.events[0]), `{"error":`) || string(streamed.events[1]) != "[DONE]" {
			t.Errorf("refused stream: %d %s", streamed.status, streamed.raw)
		}
		unknown := strings.Replace(handle, `"remote_request_id":"cmpl-r1`, `"remote_request_id":"cmpl-r2`, 1)
		p.SetFaults(Faults{})
		if got := d.must(pathCompletions, completion(words("abc", 50), 10, unknown)); got.status != 500 {
			t.Errorf("unknown handle: %d %s", got.status, got.raw)
		}
		p.clean()
		d.clean()
	})
}

func TestIncompleteParamsKillTheEngine(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("decode", nil)
		got := d.must(pathCompletions, completion("x", 10, `,"kv_transfer_params":{"do_remote_prefill":true}`))
		if got.status != 500 || !strings.HasPrefix(got.Error.Message, "EngineCore encountered an issue") {
			t.Errorf("%d %s", got.status, got.raw)
		}
		if _, err := d.post(r.t.Context(), pathCompletions, completion("x", 10, "")); err == nil {
			t.Error("a dead engine answered")
		}
		d.SetFaults(Faults{})
		if got := d.must(pathCompletions, completion("x", 10, "")); got.status != 200 {
			t.Errorf("restarted engine: %d %s", got.status, got.raw)
		}
	})
}
