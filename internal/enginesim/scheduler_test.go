package enginesim

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTimeOfOneRequestIsTheProfiles(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		begun := time.Now()
		e.must(pathCompletions, completion(words("abc", 4096), 101, ""))
		took := time.Since(begun)
		// Two iterations of 2048 prompt tokens at 102 ms, and 100 decode steps of 15 ms.
		if want := 1710 * time.Millisecond; took < want-20*time.Millisecond || took > want+20*time.Millisecond {
			t.Errorf("4096 tokens in and 101 out took %v, want about %v", took, want)
		}
		e.clean()
	})
}

func TestTimeScale(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.TimeScale = 100 })
		begun := time.Now()
		e.must(pathCompletions, completion("x", 1000, ""))
		if took := time.Since(begun); took < 145*time.Millisecond || took > 155*time.Millisecond {
			t.Errorf("15 s at 100 times the speed took %v", took)
		}
	})
}

// Long prompts slow decodes down, by no more than one iteration's budget per token.
func TestPromptsDoNotStarveDecodes(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.MaxBatchTokens = 512 })
		begun := time.Now()
		decoded := make(chan time.Duration, 1)
		go func() {
			e.must(pathCompletions, completion("x", 100, ""))
			decoded <- time.Since(begun)
		}()
		pass(50 * time.Millisecond)
		var prompts sync.WaitGroup
		for i := range 20 {
			prompts.Go(func() { e.must(pathCompletions, completion(words(fmt.Sprint(i), 8192), 1, "")) })
		}
		prompts.Wait()
		full := e.cfg.duration(e.profile, batch{prompts: 511, decodes: 1, attention: 512 * 8192})
		if got := <-decoded; got > 100*full {
			t.Errorf("100 tokens took %v beside long prompts, want at most %v each", got, full)
		}
		e.clean()
	})
}

func TestFillRespectsBudgetAndThreshold(t *testing.T) {
	e, err := New(func() Config {
		c := DefaultConfig()
		c.MaxBatchTokens, c.LongPrefillThreshold = 100, 40
		return c
	}(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := &job{news: make(chan struct{}, 1)}
	for i := range 4 {
		p := textPrompt(words(fmt.Sprint(i), 90))
		j.seqs = append(j.seqs, &sequence{job: j, prompt: p, params: sampling{maxTokens: 50, ignoreEOS: true}, stop: make(chan struct{})})
	}
	if err := e.submit(j); err != nil {
		t.Fatal(err)
	}
	for step, want := range [][]int{{40, 40, 20}, {40, 40, 20}, {10, 10, 40, 40}, {1, 1, 10, 40}, {1, 1, 1, 10}, {1, 1, 1, 1}} {
		if _, ok := e.plan(); !ok {
			t.Fatalf("step %d plans nothing", step)
		}
		var got []int
		for _, s := range e.running {
			got = append(got, s.planned)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("step %d plans %v tokens, want %v", step, got, want)
		}
		e.apply()
	}
}

func TestFullMemoryPreemptsAndEveryAnswerIsRight(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.KVTokens = 1024 })
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				body := completion(words(fmt.Sprint(i), 100), 200, "")
				if got, want := e.must(pathCompletions, body), proofOf(t, pathCompletions, body, 200); got.text() != want {
					t.Errorf("answer %d is %q, want %q", i, got.text(), want)
				}
			})
		}
		all.Wait()
		if e.Stats().Preemptions == 0 {
			t.Error("8 answers of 300 tokens fitted into 1024 without preemption")
		}
		e.clean()
	})
}

func TestPrefixCache(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		shared := words("abc", 160)
		for i, want := range []int{0, 160, 144} {
			prompt := shared + "tail"
			if i == 2 {
				prompt = shared // a whole hit leaves a block to compute
			}
			if got := e.must(pathCompletions, completion(prompt, 2, "")).Usage.Details.Cached; got != want {
				t.Errorf("request %d: cached_tokens = %d, want %d", i, got, want)
			}
		}
		if st := e.Stats(); st.PrefixHits != 304 || st.PrefixQueries != 482 {
			t.Errorf("hits %d of %d, want 304 of 482", st.PrefixHits, st.PrefixQueries)
		}
		e.clean()
	})
}

func TestManySequences(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.MaxSeqs = 2000 })
		const clients, tokens = 500, 50
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				a := e.must(pathCompletions, completion(fmt.Sprint(i), tokens, `,"stream":true`))
				if n := strings.Count(string(a.raw), "data: "); n != tokens+1 {
					t.Errorf("client %d got %d events, want %d", i, n, tokens+1)
				}
			})
		}
		all.Wait()
		e.clean()
	})
}

// A prompt that was admitted first leaves a later sequence what it does not need itself, so a
// threshold is a hole that the sequence fits through.
func TestPromptLeavesLaterDecodesItsRest(t *testing.T) {
	for threshold, want := range map[int]int{0: 0, 90: 1} {
		cfg := DefaultConfig()
		cfg.MaxBatchTokens, cfg.LongPrefillThreshold = 100, threshold
		e, err := New(cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		prompt := &sequence{place: running, prompt: textPrompt(words("abc", 1000))}
		decode := &sequence{place: running, prompt: textPrompt(words("xyz", 32)), computed: 31}
		e.running = []*sequence{prompt, decode}
		if _, ok := e.plan(); !ok || decode.planned != want {
			t.Errorf("threshold %d: %d tokens are planned for the decode, want %d", threshold, decode.planned, want)
		}
	}
}

// A prompt that is alone has nobody to leave tokens to.
func TestThresholdIsForCompany(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.MaxBatchTokens, c.LongPrefillThreshold = 1024, 128 })
		e.must(pathCompletions, completion(words("abc", 4096), 1, ""))
		if got := e.Stats().Iterations; got != 4 {
			t.Errorf("4096 tokens alone take %d iterations of 1024, want 4", got)
		}
	})
}

// A decode engine whose own prompts use up every iteration takes no KV cache over, unless the
// threshold leaves a hole.
func TestRemoteKVIsTakenOverWhileTokensAreLeft(t *testing.T) {
	for threshold, first := range map[int]string{0: "prompt", 384: "remote"} {
		inBubble(t, func(r *rig) {
			p := r.start("prefill", nil)
			d := r.start("decode", func(c *Config) { c.MaxBatchTokens, c.LongPrefillThreshold = 512, threshold })
			handle := p.prefill(words("xyz", 100))
			answered := make(chan string, 2)
			go func() {
				d.must(pathCompletions, completion(words("abc", 32*512), 1, ""))
				answered <- "prompt"
			}()
			pass(5 * time.Millisecond)
			go func() {
				d.must(pathCompletions, completion(words("xyz", 100), 1, handle))
				answered <- "remote"
			}()
			if got := <-answered; got != first {
				t.Errorf("threshold %d: the %s is answered first, want the %s", threshold, got, first)
			}
			<-answered
			d.clean()
		})
	}
}
