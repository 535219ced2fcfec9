package enginesim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// chunk is the bytes of text in one prompt token; the last token of a text may have fewer.
const chunk = 4

// base of the token ids: digit b+1 stands for byte b, so that ids of short chunks differ.
const base = 257

// The ids of the answers' words follow those of text, with one behind them for the end.
const (
	firstWord  = base * base * base * base
	vocabulary = 32 * 32
)

func countTokens(text string) int { return (len(text) + chunk - 1) / chunk }

func tokenize(text string) []int64 {
	ids := make([]int64, 0, countTokens(text))
	for ; len(text) > 0; text = text[min(chunk, len(text)):] {
		id := int64(0)
		for i := min(chunk, len(text)) - 1; i >= 0; i-- {
			id = id*base + int64(text[i]) + 1
		}
		ids = append(ids, id)
	}
	return ids
}

// detokenize inverts tokenize; an id that stands for no text gives U+FFFD.
func detokenize(ids []int64) string {
	var text []byte
	for _, id := range ids {
		if word := id - firstWord; word >= 0 && word <= vocabulary {
			text = append(text, vocabularyWord(int(word))...)
			continue
		}
		start := len(text)
		for n := 0; id > 0 && n < chunk && id%base > 0; n++ {
			text = append(text, byte(id%base-1))
			id /= base
		}
		if id != 0 || len(text) == start {
			text = append(text[:start], "\uFFFD"...)
		}
	}
	return string(text)
}

// prompt is what the engine computes before it answers.
type prompt struct {
	text   string
	ids    []int64 // nil: those of text
	tokens int
	digest string
}

func textPrompt(text string) prompt {
	if p, ok := continued(text); ok {
		return p
	}
	return prompt{text: text, tokens: countTokens(text), digest: digestOf([]byte(text))}
}

// idPrompt is the prompt of the text that the ids stand for, where tokenize gives the same ids.
func idPrompt(ids []int64) prompt {
	text := detokenize(ids)
	if slices.Equal(tokenize(text), ids) {
		return textPrompt(text)
	}
	return prompt{text: text, ids: ids, tokens: len(ids), digest: digestOf(idBytes(ids))}
}

// digestBytes is the length of a digest before it is written in hexadecimal.
const digestBytes = 16

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:digestBytes])
}

func idBytes(ids []int64) []byte {
	b := make([]byte, 0, 8*len(ids))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint64(b, uint64(id)) //nolint:gosec // Any bits will do.
	}
	return b
}

// hashes is the chain of the prompt's whole blocks: each one stands for all tokens up to its end.
func (p prompt) hashes(blockSize int) []uint64 {
	content, width := []byte(p.text), chunk*blockSize
	if p.ids != nil {
		content, width = idBytes(p.ids), 8*blockSize
	}
	chain := make([]uint64, 0, p.tokens/blockSize)
	state := xxhash.NewWithSeed(uint64(width)) //nolint:gosec // Positive.
	for ; len(content) >= width; content = content[width:] {
		_, _ = state.Write(content[:width])
		chain = append(chain, state.Sum64())
	}
	return chain
}

// The parts of the answers' words; all words are different, and none is one that people would not want to see in a demonstration.
var (
	heads = strings.Fields("bar bel bor cal can cor dan del dor fal fen gar gel hal har jas ken lan lor mar mel nor pal pir ral ros sal sel tar tel val wer")
	tails = strings.Fields("a al an and ard as den do el en er est et ia ic id in ing ion is ist it la low ly na ness or ow ton um y")
)

// Token is token i, from 0, of the answer to the prompt with the digest: a word with a leading
// space. Any two of 32 tokens in a row differ, so a lost, repeated or moved one shows.
func Token(digest string, i int) string {
	digest, said := origin(digest)
	i += said
	head := (xxhash.Sum64String(digest) + uint64(i)) % uint64(len(heads))           //nolint:gosec // i is not negative.
	tail := xxhash.Sum64String(digest+":"+strconv.Itoa(i)) / 3 % uint64(len(tails)) //nolint:gosec // In range.
	return " " + heads[head] + tails[tail]
}

// vocabularyWord is the word with the number; behind the last one it is empty.
func vocabularyWord(n int) string {
	if n >= vocabulary {
		return ""
	}
	return " " + heads[n/len(tails)] + tails[n%len(tails)]
}

var wordNumbers = sync.OnceValue(func() map[string]int {
	numbers := map[string]int{}
	for n := range vocabulary + 1 {
		numbers[vocabularyWord(n)] = n
	}
	return numbers
})

// tokenID is the id of one token of an answer, which detokenize inverts.
func tokenID(token string) int64 {
	if n, ok := wordNumbers()[token]; ok {
		return firstWord + int64(n)
	}
	return tokenize(token)[0]
}

func tokenIDs(tokens []string) []int64 {
	ids := make([]int64, len(tokens))
	for i, token := range tokens {
		ids[i] = tokenID(token)
	}
	return ids
}

// tokenIDs are the prompt's.
func (p prompt) tokenIDs() []int64 {
	if p.ids != nil {
		return p.ids
	}
	return tokenize(p.text)
}

// words are the prompt's tokens as text.
func (p prompt) words() []string {
	ids := p.tokenIDs()
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strings.ToValidUTF8(detokenize([]int64{id}), "\uFFFD")
	}
	return words
}

// Proof is the text of the first n tokens of the answer to the prompt with the digest.
func Proof(digest string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(Token(digest, i))
	}
	return b.String()
}

// Digest is the digest of the prompt in the request body that a client sends to path; sampling
// parameters and the model are no part of it. Choice k > 0 of a prompt has ChoiceDigest.
func Digest(path string, body []byte) (string, error) {
	digests, err := Digests(path, body)
	if err == nil && len(digests) != 1 {
		err = fmt.Errorf("the request has %d prompts, want 1", len(digests))
	}
	if err != nil {
		return "", err
	}
	return digests[0], nil
}

// Digests is Digest of a request with several prompts.
func Digests(path string, body []byte) ([]string, error) {
	req, err := parseRequest(path, body)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, p := range req.prompts {
		digests = append(digests, p.digest)
	}
	return digests, nil
}

// ChoiceDigest stands for the digest in the text of choice k, from 0, of one prompt.
func ChoiceDigest(digest string, k int) string {
	if k == 0 {
		return digest
	}
	return digest + "#" + strconv.Itoa(k)
}

// naturalLength is the number of tokens after which the answer ends by itself: 16 to 200, or what is
// left of them.
func naturalLength(digest string) int {
	digest, said := origin(digest)
	return max(1, 16+int(xxhash.Sum64String("length:"+digest)%185)-said) //nolint:gosec // Below 185.
}

var errEngineDead = errors.New("EngineCore encountered an issue. See stack trace (above) for the root cause.") //nolint:staticcheck,revive // vLLM's words.
