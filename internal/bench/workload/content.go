package workload

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/baton-llm/baton/internal/bench"
)

// domain keeps the random numbers of different purposes apart.
type domain uint64

const (
	lengths domain = iota
	arrivals
	picks    // which prefix
	bodies   // of single requests
	prefixes // shared by requests
	blocks   // of a trace, by hash id
	replies  // in place of answers, where prompts are token ids
)

// The token ids that prompts are made of are in nearly every vocabulary, and none is special.
const firstID, endID = 1000, 31000

// rng gives the numbers for item index of a purpose, independent of all others.
func (m *maker) rng(d domain, index int) *rand.Rand {
	var seed [32]byte
	for i, part := range []uint64{m.Seed, uint64(m.stream), uint64(d), uint64(index)} { //nolint:gosec // Any bits will do.
		binary.LittleEndian.PutUint64(seed[8*i:], part)
	}
	return rand.New(rand.NewChaCha8(seed)) //nolint:gosec // Must repeat; guards nothing.
}

// around draws a length by the range ratio.
func (m *maker) around(rng *rand.Rand, n int) int {
	const rounding = 1e-9 // 100*1.1 is more than 110
	low, high := math.Floor(float64(n)*(1-m.RangeRatio)+rounding), math.Ceil(float64(n)*(1+m.RangeRatio)-rounding)
	return max(1, int(low)+rng.IntN(int(high-low)+1))
}

// content is a prompt that grows part by part.
type content struct {
	text strings.Builder
	ids  []int64
}

// add appends n tokens of item index of a purpose. Fewer tokens of an item begin like more of it.
func (m *maker) add(c *content, d domain, index, n int) {
	rng := m.rng(d, index)
	if m.Prompt == "tokens" {
		for range n {
			c.ids = append(c.ids, firstID+rng.Int64N(endID-firstID))
		}
		return
	}
	left := int(math.Round(float64(n) * m.CharsPerToken))
	c.text.Grow(left)
	for left > 0 {
		word := words[rng.IntN(len(words))]
		c.text.WriteByte(' ')
		left--
		word = word[:min(len(word), left)]
		c.text.WriteString(word)
		left -= len(word)
	}
}

// addMessage appends what remains of n tokens of a message when the chat template has had its part.
func (m *maker) addMessage(c *content, d domain, index, n int) {
	if m.chat {
		n = max(1, n-m.TemplateTokens)
	}
	m.add(c, d, index, n)
}

func (c *content) prompt() bench.Prompt {
	return bench.Prompt{Text: c.text.String(), Tokens: c.ids}
}

// words are frequent and have three letters: with the space in front, each is one token in most
// vocabularies and four characters.
var words = strings.Fields(`
	act add age ago aid aim air all and any are arm art ask bad bag bar bed bet big bit box boy bus but buy can car cat cup
	cut day did dog dry due ear eat egg end eye far fat few fit fly for fun gas get god got gun guy had has hat her him his
	hit hot how ice its job key kid law lay led leg let lie lot low man map may men met mix mom net new nor not now odd off
	oil old one our out own pay per pop put ran raw red rid row run sad sat saw say sea see set she sir sit six sky son sun
	tax tea ten the tie tip top try two use van via war was way web wet who why win won yes yet you
`)
