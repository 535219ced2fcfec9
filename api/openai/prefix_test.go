package openai

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/wire"
)

func chainOf(t *testing.T, endpoint Endpoint, body string) []uint64 {
	t.Helper()
	p, err := Parse(endpoint, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return p.Prefix
}

// common is how many hashes two chains share from their beginning on; that they share none later is
// checked.
func common(t *testing.T, a, b []uint64) (n int) {
	t.Helper()
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for _, h := range a[n:] {
		if slices.Contains(b, h) {
			t.Errorf("chains that differ from block %d on share a later hash", n)
		}
	}
	return n
}

func TestPrefixTellsHowFarPromptsAreTheSame(t *testing.T) {
	const block = wire.PrefixBlock
	text := func(n int) string { // without repetition
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "%d,", i)
		}
		return b.String()[:n]
	}
	long := text(10 * block)
	completion := func(prompt string) string { return fmt.Sprintf(`{"model":"m","prompt":%q}`, prompt) }
	chat := func(tools, system, user string) string {
		return fmt.Sprintf(`{%s"temperature":0.5,"messages":[{"role":"system","content":%q},{"role":"user","content":%q}]}`, tools, system, user)
	}
	tools := `"tools":[{"type":"function","function":{"name":"f","description":"` + long + `"}}],`
	whole := chainOf(t, Completions, completion(long))
	if len(whole) != 10 {
		t.Fatalf("a prompt of 10 blocks has %d hashes", len(whole))
	}
	for name, c := range map[string]struct {
		a, b []uint64
		want int
	}{
		"the same":           {whole, chainOf(t, Completions, `{"stream":true,"prompt":"`+long+`","max_tokens":5}`), 10},
		"longer":             {whole, chainOf(t, Completions, completion(long+long)), 10},
		"cut short":          {whole, chainOf(t, Completions, completion(long[:3*block])), 3},
		"changed in block 4": {whole, chainOf(t, Completions, completion(long[:4*block]+"#"+long[4*block+1:])), 4},
		"changed at once":    {whole, chainOf(t, Completions, completion("#"+long[1:])), 0},
		"shifted by a block": {whole, chainOf(t, Completions, completion(long[block:])), 0},
		"a system prompt":    {chainOf(t, Chat, chat("", long, "one")), chainOf(t, Chat, chat("", long, "another")), 10},
		"another system prompt": {
			chainOf(t, Chat, chat("", "You are kind. "+long, "one")), chainOf(t, Chat, chat("", "You are rude. "+long, "one")), 0,
		},
		"tools come before messages":   {chainOf(t, Chat, chat(tools, "one", "x")), chainOf(t, Chat, chat(tools, "another", "x")), 10},
		"tools that one does not have": {chainOf(t, Chat, chat(tools, long, "x")), chainOf(t, Chat, chat("", long, "x")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := common(t, c.a, c.b); got != c.want {
				t.Errorf("%d hashes are the same, want %d", got, c.want)
			}
		})
	}
}

func TestPrefixIsBounded(t *testing.T) {
	if got := chainOf(t, Completions, `{"prompt":"short"}`); got != nil {
		t.Errorf("a prompt of less than a block has %d hashes", len(got))
	}
	if got := chainOf(t, Completions, `{"prompt":"`+strings.Repeat("x", 1<<20)+`"}`); len(got) != maxPrefixBlocks {
		t.Errorf("a prompt of 1024 blocks has %d hashes, want %d", len(got), maxPrefixBlocks)
	}
	if got := chainOf(t, Other, `{"input":"`+strings.Repeat("x", 1<<20)+`"}`); got != nil {
		t.Errorf("a body that is not looked into has %d hashes", len(got))
	}
}
