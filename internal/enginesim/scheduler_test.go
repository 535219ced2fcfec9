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
		full := e.profile.duration(batch{tokens: 512, attention: 512 * 8192})
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

func TestReferenceTimeOfAPrefill(t *testing.T) {
	p, err := profileByName("llama-70b-h100-tp4")
	if err != nil {
		t.Fatal(err)
	}
	var total time.Duration
	for _, computed := range []int{0, 4096} {
		var b batch
		b.add(computed, 4096)
		total += p.duration(b)
	}
	// A split with one such prefill engine takes 1149 s for 2000 prompts of 8192 tokens.
	if got := 2000 * total.Seconds(); got < 1100 || got > 1200 {
		t.Errorf("2000 prompts of 8192 tokens take %.0f s, want about 1149 s", got)
	}
}

// A sequence that came by transfer stands behind a long prompt and still gets its token.
func TestDecodeBehindAPromptComesFirst(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxBatchTokens = 100
	e, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	prompts := &sequence{place: running, prompt: textPrompt(words("abc", 1000))}
	decode := &sequence{place: running, prompt: textPrompt(words("xyz", 32)), computed: 31}
	e.running = []*sequence{prompts, decode}
	if _, ok := e.plan(); !ok || decode.planned != 1 || prompts.planned != 99 {
		t.Errorf("planned %d decode tokens and %d of the prompt, want 1 and 99", decode.planned, prompts.planned)
	}
}
