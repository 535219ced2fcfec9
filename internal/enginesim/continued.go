package enginesim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// continued is the prompt of a text that ends in the first n tokens of the answer to what is before
// them, n > 0: as a model does, the engine goes on at token n of that answer. These tokens are whole, as
// they were when they were answered.
func continued(text string) (p prompt, ok bool) {
	words, start := trailingWords(text)
	sum := sha256.New()
	_, _ = sum.Write([]byte(text[:start])) // never fails
	for k, word := range words {
		digest := hex.EncodeToString(sum.Sum(nil)[:digestBytes])
		if said := words[k:]; says(digest, said) {
			ids := append(tokenize(text[:start]), tokenIDs(said)...)
			return prompt{text: text, ids: ids, tokens: len(ids), digest: ContinuedDigest(digest, len(said))}, true
		}
		_, _ = sum.Write([]byte(word))
		start += len(word)
	}
	return prompt{}, false
}

// says reports whether the words are the beginning of the answer to the prompt with the digest.
func says(digest string, words []string) bool {
	for i, word := range words {
		if Token(digest, i) != word {
			return false
		}
	}
	return true
}

// trailingWords are the words of answers in which the text ends, in order, and where they begin.
func trailingWords(text string) (words []string, start int) {
	start = len(text)
	for {
		at := strings.LastIndexByte(text[:start], ' ')
		if at < 0 {
			break
		}
		if _, ok := wordNumbers()[text[at:start]]; !ok {
			break
		}
		words, start = append(words, text[at:start]), at
	}
	slices.Reverse(words)
	return words, start
}

// ContinuedDigest stands for the digest of a prompt that ends in the first n tokens of its own answer:
// token i of what follows is Token(digest, n+i).
func ContinuedDigest(digest string, n int) string {
	if n == 0 {
		return digest
	}
	return fmt.Sprintf("%s+%d", digest, n)
}

// origin inverts ContinuedDigest.
func origin(digest string) (string, int) {
	before, after, ok := strings.Cut(digest, "+")
	n, err := strconv.Atoi(after)
	if !ok || err != nil {
		return digest, 0
	}
	return before, n
}
