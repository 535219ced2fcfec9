package resume

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// form is what all events of one run have in common, but for its first and last ones: what is before the
// text and what is between the text and the counts. It is learned from an event that was read as JSON, and
// spares reading the others, which are most of what a frontend handles.
type form struct {
	head   []byte // from the beginning of the block
	middle []byte
}

// What is before the text and around the counts, as vLLM writes them.
var (
	chatText       = []byte(`"delta":{"content":"`)
	completionText = []byte(`"text":"`)
	usageHead      = []byte(`,"usage":{"prompt_tokens":`)
	usageTotal     = []byte(`,"total_tokens":`)
	usageAnswer    = []byte(`,"completion_tokens":`)
	usageTail      = []byte("}}\n\n")
)

// learn takes the form of an event that was read. One of another form is read as JSON each time.
func (t *Transcript) learn(data []byte, c *chunk) {
	if t.form.head != nil || !c.plain || c.finished || c.role || len(c.text) == 0 {
		return
	}
	key := completionText
	if t.terms.Chat {
		key = chatText
	}
	at, usage := bytes.Index(data, key), bytes.LastIndex(data, usageHead)
	if at < 0 || usage < at+len(key)+len(c.text) {
		return
	}
	f := form{head: data[:at+len(key)]}
	f.middle = data[len(f.head)+len(c.text) : usage]
	if text, rest, ok := f.text(data); ok && bytes.Equal(text, c.text) && bytes.Equal(rest, data[usage:]) {
		t.form = form{head: slices.Concat([]byte("data: "), f.head), middle: bytes.Clone(f.middle)}
	}
}

// text cuts an event of this form. A text with escapes is left for the parser to check.
func (f *form) text(event []byte) (text, rest []byte, ok bool) {
	after, ok := bytes.CutPrefix(event, f.head)
	if !ok {
		return nil, nil, false
	}
	ascii := true
	for i, b := range after {
		switch {
		case b == '"':
			if !ascii && !utf8.Valid(after[:i]) {
				return nil, nil, false
			}
			rest, ok = bytes.CutPrefix(after[i:], f.middle)
			return after[:i], rest, ok
		case b < ' ', b == '\\':
			return nil, nil, false
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, nil, false
}

// quick takes the first of some blocks of the first run by its form; false if it is of another.
func (t *Transcript) quick(blocks []byte) (rest []byte, ok bool) {
	if t.form.head == nil || t.again || !t.able {
		return nil, false
	}
	text, usage, ok := t.form.text(blocks)
	if !ok || len(text) == 0 || len(t.text)+len(text) > t.limit {
		return nil, false
	}
	prompt, after, ok := number(usage, usageHead)
	if !ok {
		return nil, false
	}
	_, after, ok = number(after, usageTotal)
	if !ok {
		return nil, false
	}
	completion, after, ok := number(after, usageAnswer)
	if !ok {
		return nil, false
	}
	rest, ok = bytes.CutPrefix(after, usageTail)
	if !ok {
		return nil, false
	}
	t.text = append(t.text, text...)
	t.prompt, t.counted, t.sent = prompt, completion, completion
	if t.terms.Running {
		t.out = append(t.out, blocks[:len(blocks)-len(rest)]...)
	} else {
		t.out = append(append(t.out, blocks[:len(blocks)-len(usage)]...), usageTail[1:]...)
	}
	return rest, true
}

// number reads a count behind a prefix.
func number(data, prefix []byte) (n int, after []byte, ok bool) {
	after, ok = bytes.CutPrefix(data, prefix)
	digits := 0
	for ; digits < len(after) && '0' <= after[digits] && after[digits] <= '9' && n <= maxCount; digits++ {
		n = 10*n + int(after[digits]-'0')
	}
	// A number with a leading zero is none.
	return n, after[digits:], ok && digits > 0 && n <= maxCount && (digits == 1 || after[0] != '0')
}
