package workload_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
	"github.com/google/go-cmp/cmp"
)

// spec is the default with changes.
func spec(change func(*workload.Spec)) workload.Spec {
	s := workload.Default()
	s.InputLen, s.OutputLen, s.NumPrompts = 64, 16, 10
	change(&s)
	return s
}

func plan(t *testing.T, specs ...workload.Spec) bench.Plan {
	t.Helper()
	p, err := workload.Plan(specs, bench.Completions, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func times(p bench.Plan) (out []time.Duration) {
	for _, r := range p.Requests {
		out = append(out, r.At)
	}
	return out
}

func TestArrivalsBySeed(t *testing.T) {
	us := time.Microsecond
	for _, tt := range []struct {
		arrival string
		want    []time.Duration
	}{
		{workload.Burst, []time.Duration{0, 0, 0, 0, 0}},
		{workload.Constant, []time.Duration{250000 * us, 500000 * us, 750000 * us, 1000000 * us, 1250000 * us}},
		{workload.Poisson, []time.Duration{32342 * us, 432167 * us, 556347 * us, 1026760 * us, 1250000 * us}},
		{workload.Gamma, []time.Duration{284933 * us, 299935 * us, 1103645 * us, 1236213 * us, 1250000 * us}},
	} {
		p := plan(t, spec(func(s *workload.Spec) {
			s.Arrival, s.NumPrompts, s.Rate, s.Burstiness, s.Seed = tt.arrival, 5, 4, 0.5, 7
		}))
		var got []time.Duration
		for _, at := range times(p) {
			got = append(got, at.Round(us))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.arrival, diff)
		}
	}
}

// The pauses of a gamma process with shape k and rate r have the mean 1/r and the standard
// deviation 1/(r*sqrt(k)); those of a Poisson process are k = 1.
func TestArrivalsHaveTheirDistribution(t *testing.T) {
	const n, rate = 50_000, 20
	for _, tt := range []struct {
		arrival string
		shape   float64
	}{{workload.Poisson, 1}, {workload.Gamma, 0.25}, {workload.Gamma, 1}, {workload.Gamma, 9}} {
		at := times(plan(t, spec(func(s *workload.Spec) { s.Arrival, s.NumPrompts, s.Rate, s.Burstiness = tt.arrival, n, rate, tt.shape })))
		if at[n-1] != n/rate*time.Second {
			t.Errorf("%s %v: the last arrival is at %v, want %v", tt.arrival, tt.shape, at[n-1], n/rate*time.Second)
		}
		var pauses []float64
		for i := 1; i < n; i++ {
			pauses = append(pauses, (at[i] - at[i-1]).Seconds())
		}
		d := bench.Describe(pauses, nil)
		want := 1 / (rate * math.Sqrt(tt.shape))
		if math.Abs(d.Std/want-1) > 0.03 || math.Abs(d.Mean*rate-1) > 0.01 {
			t.Errorf("%s %v: pauses have mean %v and deviation %v, want %v and %v", tt.arrival, tt.shape, d.Mean, d.Std, 1.0/rate, want)
		}
	}
}

func TestTheSeedDecidesEverything(t *testing.T) {
	of := func(seed uint64) (out []string) {
		p := plan(t, spec(func(s *workload.Spec) { s.RangeRatio, s.Rate, s.Seed = 0.3, 5, seed }))
		for _, r := range p.Requests {
			out = append(out, fmt.Sprint(r.At, r.InputLen, r.OutputLen, r.Prompt(nil)))
		}
		return out
	}
	if diff := cmp.Diff(of(3), of(3)); diff != "" {
		t.Errorf("the same seed twice:\n%s", diff)
	}
	a, b := of(3), of(4)
	for i := range a {
		if a[i] == b[i] || i > 0 && a[i] == a[0] {
			t.Errorf("request %d is like another one: %s", i, a[i])
		}
	}
}

func TestLengthsAreUniformInTheirRange(t *testing.T) {
	p := plan(t, spec(func(s *workload.Spec) { s.InputLen, s.OutputLen, s.RangeRatio, s.NumPrompts = 100, 10, 0.1, 3000 }))
	seen := map[int]int{}
	for _, r := range p.Requests {
		seen[r.InputLen]++
		if r.OutputLen < 9 || r.OutputLen > 11 {
			t.Errorf("output of %d tokens, want 9 to 11", r.OutputLen)
		}
		if text := r.Prompt(nil).Text; len(text) != 4*r.InputLen {
			t.Errorf("%d characters for %d tokens", len(text), r.InputLen)
		}
	}
	for n, count := range seen {
		if n < 90 || n > 110 || count < 90 || count > 200 {
			t.Errorf("%d requests of %d tokens, want about %d of each from 90 to 110", count, n, 3000/21)
		}
	}
	if len(seen) != 21 {
		t.Errorf("%d different lengths, want 21", len(seen))
	}
}

func TestSharedPrefixes(t *testing.T) {
	p := plan(t, spec(func(s *workload.Spec) {
		s.Workload, s.Prefixes, s.PrefixLen, s.InputLen, s.NumPrompts, s.CharsPerToken = workload.SharedPrefix, 3, 50, 10, 60, 5
	}))
	prefixes, all := map[string]int{}, map[string]bool{}
	for _, r := range p.Requests {
		text := r.Prompt(nil).Text
		if len(text) != 300 || r.InputLen != 60 {
			t.Fatalf("%d characters for %d tokens, want 300 for 60", len(text), r.InputLen)
		}
		prefixes[text[:250]]++
		all[text] = true
	}
	if len(prefixes) != 3 || len(all) != 60 {
		t.Errorf("%d prefixes in %d different prompts, want 3 in 60", len(prefixes), len(all))
	}
}

func TestConversationsGrow(t *testing.T) {
	s := spec(func(s *workload.Spec) {
		s.Workload, s.Turns, s.NumPrompts, s.Think, s.PrefixLen, s.Prefixes = workload.MultiTurn, 3, 5, time.Second, 8, 1
		s.InputLen, s.OutputLen, s.Concurrency = 4, 2, 2
	})
	p := plan(t, s)
	if p.Streams[0].Concurrency != 2 {
		t.Errorf("concurrency = %d, want 2", p.Streams[0].Concurrency)
	}
	var got [][4]int
	for _, r := range p.Requests {
		got = append(got, [4]int{r.Conversation, int(r.At.Seconds()), r.InputLen, r.OutputLen})
	}
	want := [][4]int{{1, 0, 12, 2}, {1, 1, 18, 2}, {1, 1, 24, 2}, {2, 0, 12, 2}, {2, 1, 18, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conversation, pause, input, output (-want +got):\n%s", diff)
	}
	first, second := p.Requests[0].Prompt(nil).Text, p.Requests[1].Prompt([]string{" yes sir"}).Text
	if !strings.HasPrefix(second, first+" yes sir ") || len(second) != 4*18 {
		t.Errorf("turn 2 is %q, want it to begin with turn 1, %q, and its answer", second, first)
	}
	ids := plan(t, spec(func(s *workload.Spec) { s.Workload, s.Prompt, s.NumPrompts = workload.MultiTurn, "tokens", 2 }))
	one, two := ids.Requests[0].Prompt(nil).Tokens, ids.Requests[1].Prompt([]string{"x"}).Tokens
	if len(one) != 64 || len(two) != 64+16+64 || !cmp.Equal(one, two[:64]) {
		t.Errorf("%d ids, then %d; want 64 and 144 that begin alike", len(one), len(two))
	}
	chat, err := workload.Plan([]workload.Spec{s}, bench.Chat, 0)
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, m := range chat.Requests[2].Prompt([]string{"a", "b"}).Messages {
		roles = append(roles, m.Role)
	}
	if diff := cmp.Diff([]string{"system", "user", "assistant", "user", "assistant", "user"}, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTraces(t *testing.T) {
	type row struct {
		At      time.Duration
		In, Out int
	}
	for _, tt := range []struct {
		name, text string
		want       []row
	}{
		{
			"Mooncake", `{"timestamp": 2000, "input_length": 20, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 1000, "input_length": 24, "output_length": 0, "hash_ids": [0, 1, 9]}

{"timestamp": 2500.5, "input_length": 4, "output_length": 7}`,
			[]row{{0, 24, 1}, {500 * time.Millisecond, 20, 5}, {750250 * time.Microsecond, 4, 7}},
		},
		{
			"Azure CSV", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.1799600,110,27\n",
			[]row{{0, 4808, 10}, {100 * time.Millisecond, 110, 27}},
		},
		{
			"Azure JSONL", `{"TIMESTAMP": "2024-05-10 00:00:00.009930+00:00", "ContextTokens": 5, "GeneratedTokens": 6}
{"TIMESTAMP": "2024-05-10T00:00:02.009930Z", "ContextTokens": 7, "GeneratedTokens": 8}`,
			[]row{{0, 5, 6}, {time.Second, 7, 8}},
		},
	} {
		p := plan(t, spec(func(s *workload.Spec) {
			s.Workload, s.Trace, s.TraceSpeed, s.NumPrompts = workload.Trace, write(t, tt.text), 2, 0
		}))
		var got []row
		for _, r := range p.Requests {
			got = append(got, row{r.At, r.InputLen, r.OutputLen})
			if n := len(r.Prompt(nil).Text); n != 4*r.InputLen {
				t.Errorf("%s: %d characters for %d tokens", tt.name, n, r.InputLen)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, bad := range []string{
		"", "a,b\n1,2\n", `{"timestamp": 1}`, `{"timestamp": "x", "input_length": 1, "output_length": 1}`, "TIMESTAMP,ContextTokens,GeneratedTokens\n",
		"TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", `{"TIMESTAMP": 5, "ContextTokens": 5, "GeneratedTokens": 6}`,
	} {
		s := spec(func(s *workload.Spec) { s.Workload, s.Trace = workload.Trace, write(t, bad) })
		if _, err := workload.Plan([]workload.Spec{s}, bench.Completions, 0); err == nil {
			t.Errorf("the trace %q was taken", bad)
		}
	}
}

func TestBlocksOfATraceAreShared(t *testing.T) {
	p := plan(t, spec(func(s *workload.Spec) {
		s.Workload, s.TraceBlock, s.Trace = workload.Trace, 8, write(t, `{"timestamp": 0, "input_length": 20, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 0, "input_length": 24, "output_length": 5, "hash_ids": [0, 1, 9]}
{"timestamp": 0, "input_length": 30, "output_length": 5, "hash_ids": [3, 1, 2]}`)
	}))
	a, b, c := p.Requests[0].Prompt(nil).Text, p.Requests[1].Prompt(nil).Text, p.Requests[2].Prompt(nil).Text
	const block = 4 * 8
	if a[:2*block] != b[:2*block] || a[2*block:] == b[2*block:len(a)] {
		t.Errorf("want two blocks alike and the third not:\n%q\n%q", a, b)
	}
	if a[:block] == c[:block] || a[block:] != c[block:len(a)] || len(c) != 4*30 {
		t.Errorf("want the first block to differ, the others to be alike and a rest of its own:\n%q\n%q", a, c)
	}
}

func TestMix(t *testing.T) {
	base := spec(func(s *workload.Spec) { s.Seed = 5 })
	got, err := workload.ReadMix(write(t, `streams:
  - name: chat
    class: interactive
    input_len: 32
    rate: 5
    think: 2s
  - workload: shared-prefix
    prefix_len: 100
`), base)
	if err != nil {
		t.Fatal(err)
	}
	chat, second := base, base
	chat.Name, chat.Class, chat.InputLen, chat.Rate, chat.Think = "chat", "interactive", 32, 5, 2*time.Second
	second.Name, second.Workload, second.PrefixLen = "stream-2", workload.SharedPrefix, 100
	if diff := cmp.Diff([]workload.Spec{chat, second}, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	p := plan(t, got...)
	want := []bench.Stream{{Name: "chat", Class: "interactive", Rate: 5, Burstiness: 1}, {Name: "stream-2"}}
	if diff := cmp.Diff(want, p.Streams); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if p.Requests[0].Prompt(nil).Text[:32] == p.Requests[10].Prompt(nil).Text[:32] {
		t.Error("two streams with the same seed send the same text")
	}
	for _, bad := range []string{"streams: []", "streams:\n  - inputlen: 5\n", "stream: 1", "{"} {
		if _, err := workload.ReadMix(write(t, bad), base); err == nil {
			t.Errorf("the mix %q was taken", bad)
		}
	}
}

func TestHowManyRequests(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(*workload.Spec)
		duration time.Duration
		want     int
	}{
		{"default", func(*workload.Spec) {}, 0, 1000},
		{"as many as the duration needs", func(s *workload.Spec) { s.Rate = 2.5 }, 3 * time.Second, 8},
		{"of whole conversations", func(s *workload.Spec) { s.Rate, s.Workload = 1, workload.MultiTurn }, 3 * time.Second, 15},
		{"the number is a ceiling", func(s *workload.Spec) { s.Rate, s.NumPrompts = 2, 3 }, 30 * time.Second, 3},
		{"a closed loop that only time ends", func(s *workload.Spec) { s.Concurrency = 3 }, time.Second, 100_000},
	} {
		s := workload.Default()
		tt.change(&s)
		p, err := workload.Plan([]workload.Spec{s}, bench.Completions, tt.duration)
		if err != nil || len(p.Requests) != tt.want {
			t.Errorf("%s: %d requests, %v; want %d", tt.name, len(p.Requests), err, tt.want)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	for name, change := range map[string]func(*workload.Spec){
		"workload":        func(s *workload.Spec) { s.Workload = "x" },
		"arrival":         func(s *workload.Spec) { s.Arrival = "x" },
		"prompt":          func(s *workload.Spec) { s.Prompt = "x" },
		"input_len":       func(s *workload.Spec) { s.InputLen = 0 },
		"output_len":      func(s *workload.Spec) { s.OutputLen = 0 },
		"range_ratio":     func(s *workload.Spec) { s.RangeRatio = 1 },
		"prefix_len":      func(s *workload.Spec) { s.Workload = workload.SharedPrefix },
		"trace":           func(s *workload.Spec) { s.Workload = workload.Trace },
		"concurrency":     func(s *workload.Spec) { s.Arrival = workload.Closed },
		"rate":            func(s *workload.Spec) { s.Arrival = workload.Gamma },
		"burstiness":      func(s *workload.Spec) { s.Arrival, s.Rate, s.Burstiness = workload.Gamma, 1, 0 },
		"trace_speed":     func(s *workload.Spec) { s.TraceSpeed = 0 },
		"chars_per_token": func(s *workload.Spec) { s.CharsPerToken = 0 },
	} {
		s := workload.Default()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), name+" is ") {
			t.Errorf("a bad %s: %v", name, err)
		}
	}
	s := spec(func(s *workload.Spec) { s.Prompt = "tokens" })
	if _, err := workload.Plan([]workload.Spec{s}, bench.Chat, 0); err == nil {
		t.Error("token ids were planned for the chat endpoint")
	}
}

func TestWarmupIsLikeTheRunButWithOtherTexts(t *testing.T) {
	s := spec(func(s *workload.Spec) { s.Rate = 1 })
	warm, err := workload.Warmup([]workload.Spec{s}, bench.Completions, 3)
	if err != nil || len(warm.Requests) != 3 || warm.Requests[2].At != 0 {
		t.Fatalf("warm-up of %d requests, %v; want 3 at once", len(warm.Requests), err)
	}
	if warm.Requests[0].Prompt(nil).Text == plan(t, s).Requests[0].Prompt(nil).Text {
		t.Error("the warm-up sends a text of the run: a prefix cache would have it")
	}
}
