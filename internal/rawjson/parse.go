// Package rawjson reads single members of a JSON object and changes them without touching any
// other byte. It owns the rules for what a body may be (one object, valid UTF-8, no duplicate
// names, bounded depth) and knows nothing about what the members mean.
package rawjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

const maxPointer = 200 // bytes; names are the client's

const (
	// MaxDepth is how deep objects and arrays may nest, the outermost object included.
	MaxDepth = 128
	// MaxMembers is how many members all objects of a body may have together. To find duplicates
	// costs tens of bytes for each, so that a body of nothing else would need many times its size.
	MaxMembers = 1 << 18
)

// Sentinels that a *SyntaxError may wrap.
var (
	ErrDuplicate = errors.New("duplicate member name")
	ErrDepth     = fmt.Errorf("nesting deeper than %d", MaxDepth)
	ErrMembers   = fmt.Errorf("more than %d members", MaxMembers)
)

// SyntaxError says why and where a body is not what Parse accepts.
type SyntaxError struct {
	Offset  int64  // in bytes, at or just before the fault
	Pointer string // RFC 6901, of the value in which the fault lies; only its beginning if it is long
	Msg     string // quotes no value of the body

	cause error // a sentinel or nil
}

func (e *SyntaxError) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Msg)
	}
	return fmt.Sprintf("invalid JSON at byte %d, in %s: %s", e.Offset, e.Pointer, e.Msg)
}

// Unwrap returns ErrDuplicate, ErrDepth, ErrMembers or nil.
func (e *SyntaxError) Unwrap() error { return e.cause }

// Object is a parsed JSON object. It shares memory with the bytes it was parsed from, which must
// not change while it is used; it is then safe for concurrent use.
type Object struct {
	body    []byte
	members []member
	index   map[string]int // of members by name; nil: they are few
	open    int            // offset just behind the opening brace
}

// member lies in body from its name's opening quote to the end of its value.
type member struct {
	name              []byte // of body, unless it has escapes
	start, value, end int
}

// Parse checks that body is one JSON object: valid UTF-8, RFC 8259 syntax, no duplicate names at
// any level, nested at most MaxDepth deep, with at most MaxMembers in all. Its errors are *SyntaxError.
func Parse(body []byte) (*Object, error) {
	if err := checkShape(body); err != nil {
		return nil, err
	}
	l := decoders.Get().(*lent)
	l.text = *bytes.NewBuffer(body)
	l.Reset(&l.text)
	o, err := parse(&l.Decoder, body)
	l.text = bytes.Buffer{}
	l.Reset(&l.text) // it must not hold the body
	decoders.Put(l)
	return o, err
}

// lent is a decoder that is used again: what it needs to find duplicates is most of what Parse would allocate.
type lent struct {
	jsontext.Decoder

	text bytes.Buffer
}

var decoders = sync.Pool{New: func() any { return new(lent) }}

func parse(d *jsontext.Decoder, body []byte) (*Object, error) {
	if k := d.PeekKind(); k != jsontext.KindBeginObject && k != jsontext.KindInvalid {
		return nil, &SyntaxError{Offset: d.InputOffset(), Msg: "the body is no object"}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntaxError(err, len(body))
	}
	o := &Object{body: body, members: make([]member, 0, usual), open: int(d.InputOffset())}
	for d.PeekKind() != jsontext.KindEndObject {
		quoted, err := d.ReadValue()
		if err != nil {
			return nil, syntaxError(err, len(body))
		}
		end := int(d.InputOffset())
		start := end - len(quoted)
		name, err := unquoted(body[start:end]) // the decoder's own bytes are gone with the next value
		if err != nil {
			return nil, syntaxError(err, len(body))
		}
		v, err := d.ReadValue()
		if err != nil {
			return nil, syntaxError(err, len(body))
		}
		end = int(d.InputOffset())
		o.members = append(o.members, member{name, start, end - len(v), end})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntaxError(err, len(body))
	}
	end := d.InputOffset()
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, &SyntaxError{Offset: end, Msg: "something follows the object"}
	}
	o.indexMembers()
	return o, nil
}

func (o *Object) indexMembers() {
	if len(o.members) <= fewMembers {
		return
	}
	o.index = make(map[string]int, len(o.members))
	for i, m := range o.members {
		o.index[string(m.name)] = i
	}
}

const (
	usual      = 8  // members that there is room for at once
	fewMembers = 32 // that are searched one by one
)

func unquoted(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return jsontext.AppendUnquote(nil, quoted)
}

// find is where the member of that name is in members.
func (o *Object) find(name string) (i int, ok bool) {
	if o.index != nil {
		i, ok = o.index[name]
		return i, ok
	}
	i = slices.IndexFunc(o.members, func(m member) bool { return string(m.name) == name })
	return i, i >= 0
}

// checkShape runs first, so that no parser ever meets a body that costs out of proportion.
func checkShape(body []byte) error {
	depth, members := 0, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i = stringEnd(body, i+1)
		case '{', '[':
			if depth++; depth > MaxDepth {
				return &SyntaxError{Offset: int64(i), Msg: ErrDepth.Error(), cause: ErrDepth}
			}
		case '}', ']':
			depth--
		case ':':
			if members++; members > MaxMembers {
				return &SyntaxError{Offset: int64(i), Msg: ErrMembers.Error(), cause: ErrMembers}
			}
		}
	}
	return nil
}

// stringEnd is where the quote is that ends the string whose inside begins at i, or len(body). It searches for quotes:
// prompts are long strings with few of them.
func stringEnd(body []byte, i int) int {
	for {
		n := bytes.IndexByte(body[i:], '"')
		if n < 0 {
			return len(body)
		}
		end, escapes := i+n, 0
		for escapes < n && body[end-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return end
		}
		i = end + 1
	}
}

func syntaxError(err error, size int) error {
	var s *jsontext.SyntacticError
	if !errors.As(err, &s) {
		return &SyntaxError{Offset: int64(size), Msg: "the body ends too early"}
	}
	out := &SyntaxError{Offset: s.ByteOffset, Pointer: string(s.JSONPointer), Msg: "syntax error"}
	if len(out.Pointer) > maxPointer {
		out.Pointer = strings.ToValidUTF8(out.Pointer[:maxPointer], "") + "…"
	}
	switch {
	case errors.Is(s.Err, jsontext.ErrDuplicateName):
		out.cause, out.Msg = ErrDuplicate, ErrDuplicate.Error()
	case errors.Is(s.Err, io.ErrUnexpectedEOF):
		out.Msg = "the body ends too early"
	case s.Err != nil:
		out.Msg = s.Err.Error()
	}
	return out
}

// Get returns the raw bytes of a top-level member.
func (o *Object) Get(name string) (Value, bool) {
	i, ok := o.find(name)
	if !ok {
		return nil, false
	}
	m := o.members[i]
	return Value(o.body[m.value:m.end:m.end]), true
}

// Names yields the names of the top-level members as they come.
func (o *Object) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range o.members {
			if !yield(string(m.name)) {
				return
			}
		}
	}
}
