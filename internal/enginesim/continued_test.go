package enginesim

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPromptThatEndsInItsOwnAnswerGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z ]{1,40}\??`).Draw(t, "prompt")
		before := textPrompt(text)
		n := rapid.IntRange(1, 300).Draw(t, "said")
		after := textPrompt(text + Proof(before.digest, n))
		if want := ContinuedDigest(before.digest, n); after.digest != want {
			t.Fatalf("digest is %s, want %s", after.digest, want)
		}
		if after.tokens != before.tokens+n || after.tokens != len(after.tokenIDs()) {
			t.Errorf("%d tokens, %d ids, want %d and %d", after.tokens, len(after.tokenIDs()), before.tokens, n)
		}
		for i := range 5 {
			if got, want := Token(after.digest, i), Token(before.digest, n+i); got != want {
				t.Errorf("token %d of what follows is %q, want %q", i, got, want)
			}
		}
		if other := textPrompt(text + Proof(before.digest, n) + " "); other.digest != digestOf([]byte(other.text)) {
			t.Error("an answer that something follows is continued")
		}
		changed := text + Token(before.digest, n+1) + Proof(before.digest, n)
		if other := textPrompt(changed); other.digest == ContinuedDigest(before.digest, n+1) {
			t.Error("another answer is continued")
		}
	})
}

func TestAnswersAreContinued(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.start(roleBoth, nil)
		const prompt, tokens = "why is the sky blue?", 30
		asked := completion(prompt, tokens, "")
		want := proofOf(t, pathCompletions, asked, tokens)
		for said := range 4 {
			part := proofOf(t, pathCompletions, asked, said)
			got := s.must(pathCompletions, completion(prompt+part, tokens-said, ""))
			if part+got.text() != want || got.Usage.CompletionTokens != tokens-said {
				t.Errorf("after %d tokens: %q and %q, want %q", said, part, got.text(), want)
			}
		}
		chat := func(more, members string) string {
			return fmt.Sprintf(`{"messages":[{"role":"user","content":"hi"}%s]%s}`, more, members)
		}
		whole := s.must(pathChat, chat("", ""))
		const said = 7
		part := proofOf(t, pathChat, chat("", ""), said)
		got := s.must(pathChat, chat(fmt.Sprintf(`,{"role":"assistant","content":%q}`, part), `,"continue_final_message":true,"add_generation_prompt":false`))
		if part+got.text() != whole.text() || got.Choices[0].FinishReason != "stop" {
			t.Errorf("chat goes on with %q, want the rest of %q", got.text(), whole.text())
		}
		if want := whole.Usage; got.Usage.PromptTokens != want.PromptTokens+said || got.Usage.CompletionTokens != want.CompletionTokens-said {
			t.Errorf("usage is %+v, want %+v with %d tokens moved", got.Usage, want, said)
		}
	})
}

func TestContinuationsThatAreRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.start(roleBoth, nil)
		for name, body := range map[string]string{
			"with a generation prompt": `{"messages":[{"role":"assistant","content":"a"}],"continue_final_message":true}`,
			"of the user's message":    `{"messages":[{"role":"user","content":"a"}],"continue_final_message":true,"add_generation_prompt":false}`,
		} {
			if got := s.must(pathChat, body); got.status != 400 || got.Error == nil || !strings.Contains(got.Error.Message, "continue_final_message") {
				t.Errorf("%s: %d %s", name, got.status, got.raw)
			}
		}
	})
}

// A handle of the prompt alone is none of the prompt with a part of its answer.
func TestHandleOfAnotherLengthShows(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start(rolePrefill, nil), r.start(roleDecode, nil)
		const prompt, tokens = "why is the sky blue?", 10
		asked := completion(prompt, tokens, "")
		want, part := proofOf(t, pathCompletions, asked, tokens), proofOf(t, pathCompletions, asked, 4)
		got := d.must(pathCompletions, completion(prompt+part, tokens-4, p.prefill(prompt+part)))
		if part+got.text() != want {
			t.Errorf("split continuation is %q, want %q", part+got.text(), want)
		}
		if got = d.must(pathCompletions, completion(prompt+part, tokens-4, p.prefill(prompt))); part+got.text() == want {
			t.Error("the handle of another prompt proves the path")
		}
	})
}
