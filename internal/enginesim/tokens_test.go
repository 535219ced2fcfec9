package enginesim

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDetokenizeInvertsTokenize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		ids := tokenize(text)
		if got := detokenize(ids); got != text || len(ids) != countTokens(text) {
			t.Fatalf("%d tokens %v stand for %q, want %q", len(ids), ids, got, text)
		}
	})
	if got := detokenize([]int64{-1, 0, 257}); got != "\uFFFD\uFFFD\uFFFD" {
		t.Errorf("ids without text give %q", got)
	}
}

func TestEveryWordIsUniqueAndNeighboursDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, head := range heads {
		for _, tail := range tails {
			if seen[head+tail] {
				t.Errorf("%s%s is twice in the list", head, tail)
			}
			seen[head+tail] = true
		}
	}
	if len(seen) != 1024 {
		t.Errorf("%d words, want 1024", len(seen))
	}
	for i := range 1000 {
		for j := 1; j < 32; j++ {
			if Token("digest", i) == Token("digest", i+j) {
				t.Errorf("tokens %d and %d are both %q", i, i+j, Token("digest", i))
			}
		}
	}
}

// Answers stand in pictures and on screens.
func TestNoWordIsRude(t *testing.T) {
	for n := range vocabulary {
		word := strings.TrimSpace(vocabularyWord(n))
		for _, part := range strings.Fields("anus arse boob coon cunt damn dick dild fag fuck genit hitler jap kike nazi negr nigg orgas paki penis piss porn puss rape retard scrot sex shit slut sperm turd twat vagin wank whor") {
			if strings.Contains(word, part) {
				t.Errorf("%q has %q in it", word, part)
			}
		}
		if slices.Contains(strings.Fields("anal ass cum gay hell homo nude tit willy"), word) {
			t.Errorf("%q is rude", word)
		}
	}
}

func TestDigestIsOfThePromptAlone(t *testing.T) {
	digest := func(path, body string) string {
		d, err := Digest(path, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	chat := digest(pathChat, `{"messages":[{"role":"user","content":"hi"}]}`)
	if got := digest(pathChat, `{"model":"m","seed":9223372036854775807,"temperature":1,"messages":[{"content":[{"type":"text","text":"hi"}],"role":"user"}],"max_tokens":5}`); got != chat {
		t.Error("sampling parameters change the digest")
	}
	if got := digest(pathChat, `{"messages":[{"role":"system","content":"hi"}]}`); got == chat {
		t.Error("the role does not change the digest")
	}
	if digest(pathCompletions, `{"prompt":"hello"}`) != digest(pathCompletions, `{"prompt":[[1857456297, 112]]}`) {
		t.Error("a prompt and its token ids differ")
	}
	if _, err := Digest(pathCompletions, []byte(`{"prompt":["a","b"]}`)); err == nil {
		t.Error("Digest took two prompts")
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	if err := (Config{Faults: Faults{Status: 200}}).Validate(); err == nil {
		t.Error("Validate took an empty config")
	}
}
