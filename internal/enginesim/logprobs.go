package enginesim

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

type tokenLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

type topLogprob struct {
	tokenLogprob
	Top []tokenLogprob `json:"top_logprobs"`
}

type chatLogprobs struct {
	Content []topLogprob `json:"content"`
}

type completionLogprobs struct {
	TextOffset    []int                `json:"text_offset"`
	TokenLogprobs []*float64           `json:"token_logprobs"`
	Tokens        []string             `json:"tokens"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
}

// promptLogprob is one that might have stood in a place of the prompt; its key is the token's id.
type promptLogprob struct {
	Logprob float64 `json:"logprob"`
	Rank    int     `json:"rank"`
	Decoded string  `json:"decoded_token"`
}

func (a *answer) chatLogprobs(tokens []string) *chatLogprobs {
	if a.req.logprobs == none {
		return nil
	}
	return &chatLogprobs{Content: a.topLogprobs(tokens)}
}

func (a *answer) topLogprobs(tokens []string) []topLogprob {
	out := []topLogprob{}
	for _, word := range tokens {
		t := topLogprob{tokenLogprob: a.logprob(word, 0), Top: []tokenLogprob{}}
		for rank := range a.req.logprobs {
			t.Top = append(t.Top, a.logprob(word, rank))
		}
		out = append(out, t)
	}
	return out
}

// logprob is not computed: it only falls with the rank.
func (a *answer) logprob(word string, rank int) tokenLogprob {
	word = alternative(word, rank)
	t := tokenLogprob{Token: a.label(word), Logprob: fakeLogprob(rank), Bytes: []int{}}
	for _, b := range []byte(word) {
		t.Bytes = append(t.Bytes, int(b))
	}
	return t
}

// label is a token as the client wants to see it.
func (a *answer) label(word string) string {
	if a.req.TokensAsIDs {
		return fmt.Sprintf("token_id:%d", tokenID(word))
	}
	return word
}

func fakeLogprob(rank int) float64 { return -0.125 * math.Pow(2, float64(rank)) }

// alternative is another word that might have come in place of this one.
func alternative(word string, rank int) string {
	if rank == 0 {
		return word
	}
	return Token(word, rank)
}

// completionLogprobs are those of tokens that begin offset characters into the text, with an
// echoed prompt or without.
func (a *answer) completionLogprobs(tokens []string, offset int, echoed bool) *completionLogprobs {
	if a.req.logprobs == none {
		return nil
	}
	out := &completionLogprobs{TextOffset: []int{}, TokenLogprobs: []*float64{}, Tokens: []string{}, TopLogprobs: []map[string]float64{}}
	for i, word := range tokens {
		out.TextOffset = append(out.TextOffset, offset)
		out.Tokens = append(out.Tokens, a.label(word))
		offset += utf8.RuneCountInString(word)
		if i == 0 && echoed { // nothing comes before it
			out.TokenLogprobs = append(out.TokenLogprobs, nil)
			out.TopLogprobs = append(out.TopLogprobs, nil)
			continue
		}
		top := map[string]float64{}
		for rank := range max(1, a.req.logprobs) {
			top[a.label(alternative(word, rank))] = fakeLogprob(rank)
		}
		out.TokenLogprobs = append(out.TokenLogprobs, new(fakeLogprob(0)))
		out.TopLogprobs = append(out.TopLogprobs, top)
	}
	return out
}

// promptLogprobs has an element for each of the prompt's tokens, nil for the first.
func (a *answer) promptLogprobs(p prompt) []map[string]promptLogprob {
	if a.req.promptLogprobs == none {
		return nil
	}
	out := make([]map[string]promptLogprob, p.tokens)
	for i, id := range p.tokenIDs() {
		if i == 0 {
			continue
		}
		word := detokenize([]int64{id})
		out[i] = map[string]promptLogprob{strconv.FormatInt(id, 10): {Logprob: fakeLogprob(0), Rank: 1, Decoded: word}}
		for rank := 1; rank < a.req.promptLogprobs; rank++ {
			other := alternative(word, rank)
			out[i][strconv.FormatInt(tokenID(other), 10)] = promptLogprob{Logprob: fakeLogprob(rank), Rank: rank + 1, Decoded: other}
		}
	}
	return out
}
