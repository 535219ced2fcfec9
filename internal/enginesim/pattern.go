package enginesim

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
)

// sample is a string within the rules; without any, two words.
func (r textRules) sample(seed string) string {
	if r.pattern != nil {
		return matching(r.pattern, seed)
	}
	if text, ok := formatted(r.format, seed); ok {
		return text
	}
	var b strings.Builder
	least := min(max(r.least, 1), maxLetters)
	for i := 0; i < 2 || b.Len() <= least; i++ {
		b.WriteString(Token(seed, i))
	}
	text := b.String()[1:]
	if r.most != unbounded && len(text) > r.most {
		text = text[:r.most]
	}
	return text
}

// formatted is a string of one of JSON schema's formats.
func formatted(format, seed string) (string, bool) {
	h := hash(seed)
	when := time.Unix(int64(h%(40*365*24*3600)), 0).UTC() //nolint:gosec // Within 40 years.
	word := Token(seed, 0)[1:]
	switch format {
	case "date":
		return when.Format(time.DateOnly), true
	case "time":
		return when.Format("15:04:05Z"), true
	case "date-time":
		return when.Format(time.RFC3339), true
	case "email":
		return word + "@example.com", true
	case "uri", "url":
		return "https://example.com/" + word, true
	case "hostname":
		return word + ".example.com", true
	case "ipv4":
		return fmt.Sprintf("192.0.2.%d", h%256), true
	case "uuid":
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", h>>32, h>>16&0xffff, h>>4&0xfff, h&0xfff, h>>8&0xffffffffffff), true
	}
	return "", false
}

// matching is a text that the expression matches. Go's parser bounds the size of what repeats.
func matching(re *syntax.Regexp, seed string) string {
	m := &matcher{seed: seed}
	m.write(re)
	return m.b.String()
}

type matcher struct {
	seed  string
	draws int
	b     strings.Builder
}

func (m *matcher) draw(below int) int {
	m.draws++
	return int(hash(m.seed+":"+strconv.Itoa(m.draws)) % uint64(below)) //nolint:gosec // Below an int.
}

func (m *matcher) write(re *syntax.Regexp) {
	const extra = 2 // most repetitions beyond the least
	switch re.Op {
	case syntax.OpLiteral:
		m.b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		m.b.WriteRune(m.oneOf(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		m.b.WriteRune(rune('a' + m.draw(26))) //nolint:gosec // A letter.
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			m.write(sub)
		}
	case syntax.OpAlternate:
		m.write(re.Sub[m.draw(len(re.Sub))])
	case syntax.OpStar:
		m.repeat(re.Sub[0], m.draw(extra+1))
	case syntax.OpPlus:
		m.repeat(re.Sub[0], 1+m.draw(extra))
	case syntax.OpQuest:
		m.repeat(re.Sub[0], m.draw(2))
	case syntax.OpRepeat:
		most := re.Min + extra
		if re.Max >= 0 {
			most = min(most, re.Max)
		}
		m.repeat(re.Sub[0], re.Min+m.draw(1+most-re.Min))
	default: // anchors, which match nothing but a place
	}
}

func (m *matcher) repeat(re *syntax.Regexp, times int) {
	for range times {
		m.write(re)
	}
}

// oneOf takes a rune of the class, a printable one of ASCII where it has any.
func (m *matcher) oneOf(class []rune) rune {
	var printable []rune
	for i := 0; i+1 < len(class); i += 2 {
		for r := max(class[i], '!'); r <= min(class[i+1], '~'); r++ {
			printable = append(printable, r)
		}
	}
	switch {
	case len(printable) > 0:
		return printable[m.draw(len(printable))]
	case len(class) > 0:
		return class[0]
	}
	return '?'
}
