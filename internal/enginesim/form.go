package enginesim

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// form is how the answers to a request look.
type form struct {
	reasoning int                        // words that come first, apart from the rest
	calls     []function                 // in order; then there is no text
	named     bool                       // the one call was asked for by name
	required  bool                       // a call was asked for
	text      func(digest string) string // nil: words
}

// partKind says what clients see of a part.
type partKind int

const (
	partReasoning partKind = iota
	partText
	partOpening // markup, seen as the beginning of a call
	partArguments
	partClosing // markup, not seen
)

// part is a run of tokens of one kind.
type part struct {
	kind  partKind
	call  int      // index of the call
	from  int      // its first token
	words []string // nil: those of the digest, with no end
}

// end is the index behind its last token, if it has one.
func (p *part) end() (int, bool) { return p.from + len(p.words), p.words != nil }

// script is one choice's answer, token by token. It does not change.
type script struct {
	digest string
	calls  []toolCall
	parts  []part
	length int  // tokens after which it ends by itself
	fixed  bool // it has no more tokens than length
}

// toolCall is a call as clients see it.
type toolCall struct {
	ID        string
	Name      string
	Arguments string
}

// CallDigest stands for the digest in the arguments of call k, from 0, of one choice.
func CallDigest(digest string, k int) string { return fmt.Sprintf("%s@%d", digest, k) }

// script is the answer to the prompt with the digest.
func (f *form) script(digest string) *script {
	s := &script{digest: digest}
	if f.reasoning > 0 {
		words := make([]string, f.reasoning)
		for i := range words {
			words[i] = Token(digest, i)
		}
		s.add(partReasoning, 0, words)
	}
	switch {
	case len(f.calls) > 0:
		f.addCalls(s)
	case f.text != nil:
		s.fixed = true
		s.add(partText, 0, pieces(f.text(digest)))
	default:
		s.add(partText, 0, nil)
		s.length += naturalLength(digest)
	}
	return s
}

func (f *form) addCalls(s *script) {
	s.fixed = true
	closing := ""
	for k, fn := range f.calls {
		digest := CallDigest(s.digest, k)
		c := toolCall{ID: "chatcmpl-tool-" + digestOf([]byte(digest)), Name: fn.name, Arguments: fn.parameters.document(digest)}
		s.calls = append(s.calls, c)
		s.add(partOpening, k, pieces(closing+"<tool_call>\n{\"name\": "+quoted(c.Name)+", \"arguments\": "))
		s.add(partArguments, k, pieces(c.Arguments))
		closing = "}\n</tool_call>\n"
	}
	s.add(partClosing, 0, pieces(closing))
}

func (s *script) add(kind partKind, call int, words []string) {
	s.parts = append(s.parts, part{kind: kind, call: call, from: s.length, words: words})
	s.length += len(words)
}

// at is token i and the part that it is of.
func (s *script) at(i int) (word string, index int) {
	for index = len(s.parts) - 1; s.parts[index].from > i; {
		index--
	}
	p := &s.parts[index]
	if p.words == nil {
		return Token(s.digest, i), index
	}
	return p.words[i-p.from], index
}

// limit is the number of tokens after which the answer ends.
func (s *script) limit(p sampling) int {
	switch {
	case s.fixed:
		return min(p.maxTokens, s.length)
	case p.ignoreEOS:
		return p.maxTokens
	}
	return min(p.maxTokens, max(s.length, p.minTokens))
}

// pieces cuts a text into tokens of at most chunk bytes, without cutting a character. An empty
// text still has a token, the one that ends it.
func pieces(text string) []string {
	out := []string{}
	for len(text) > 0 {
		n := min(chunk, len(text))
		for n > 1 && n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	if len(out) == 0 {
		out = []string{""}
	}
	return slices.Clip(out)
}

// Answer is what one choice of a request is answered by an engine without reasoning, if max_tokens
// does not cut it. Text that is words has no end of its own: those up to the natural length.
type Answer struct {
	Text  string
	Calls []Call
}

// Call is a call of a function.
type Call struct {
	Name      string
	Arguments string
}

// Answers are the answers to a request body that a client sends to path, by choice.
func Answers(path string, body []byte) ([]Answer, error) {
	req, err := parseRequest(path, body)
	if err != nil {
		return nil, err
	}
	var out []Answer
	for _, p := range req.prompts {
		for k := range req.choices {
			out = append(out, req.form.script(ChoiceDigest(p.digest, k)).answer())
		}
	}
	return out, nil
}

func (s *script) answer() Answer {
	var a Answer
	for _, c := range s.calls {
		a.Calls = append(a.Calls, Call{Name: c.Name, Arguments: c.Arguments})
	}
	for i := range s.length {
		if word, index := s.at(i); s.parts[index].kind == partText {
			a.Text += word
		}
	}
	return a
}
