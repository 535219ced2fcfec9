package rawjson

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// Kind is what sort of JSON value a Value is.
type Kind byte

// The kinds. KindInvalid is the kind of a Value that does not come from an Object.
const (
	KindInvalid Kind = iota
	KindNull
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

// Sentinels of the readers of Value.
var (
	ErrKind   = errors.New("value is of another kind")
	ErrNotInt = errors.New("number is no 64-bit integer")
)

// Value is the raw bytes of one valid JSON value; it shares memory with the body.
type Value []byte

// Kind tells by the first byte what v is.
func (v Value) Kind() Kind {
	if len(v) == 0 {
		return KindInvalid
	}
	switch c := v[0]; {
	case c == 'n':
		return KindNull
	case c == 't' || c == 'f':
		return KindBool
	case c == '"':
		return KindString
	case c == '[':
		return KindArray
	case c == '{':
		return KindObject
	case c == '-' || '0' <= c && c <= '9':
		return KindNumber
	}
	return KindInvalid
}

// String returns the text of a string; ErrKind if v is none.
func (v Value) String() (string, error) {
	if v.Kind() != KindString {
		return "", fmt.Errorf("read a string: %w", ErrKind)
	}
	s, err := unquoted(v)
	if err != nil {
		return "", fmt.Errorf("read a string: %w", err)
	}
	return string(s), nil
}

// Int64 returns an integer that is written as one: 5.0, 1e3 and what does not fit are ErrNotInt,
// what is no number is ErrKind.
func (v Value) Int64() (int64, error) {
	if v.Kind() != KindNumber {
		return 0, fmt.Errorf("read an integer: %w", ErrKind)
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read an integer: %w", ErrNotInt)
	}
	return n, nil
}

// Bool returns true or false; ErrKind if v is neither.
func (v Value) Bool() (bool, error) {
	if v.Kind() != KindBool {
		return false, fmt.Errorf("read a bool: %w", ErrKind)
	}
	return v[0] == 't', nil
}

// Array yields the elements of an array; its only error, as the last pair, is that v is none (ErrKind)
// or not of an Object.
func (v Value) Array() iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		if v.Kind() != KindArray {
			yield(nil, fmt.Errorf("read an array: %w", ErrKind))
			return
		}
		elements(v, yield)
	}
}

// Object reads v as an object; ErrKind if it is none.
func (v Value) Object() (*Object, error) {
	if v.Kind() != KindObject {
		return nil, fmt.Errorf("read an object: %w", ErrKind)
	}
	return Reparse(v)
}
