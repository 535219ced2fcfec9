package openai

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/baton-llm/baton/internal/rawjson"
)

// members reads optional members of one object. The first fault sticks and what is read after it
// is absent, so that a caller checks err once. A member whose value is null counts as absent.
type members struct {
	object *rawjson.Object
	loose  bool // a number is written in a way that only the engine can judge
	err    error
}

func (m *members) fail(param, format string, args ...any) {
	if m.err == nil {
		m.err = faultf(param, format, args...)
	}
}

func (m *members) get(name string) (rawjson.Value, bool) {
	if m.err != nil {
		return nil, false
	}
	v, ok := m.object.Get(name)
	return v, ok && v.Kind() != rawjson.KindNull
}

func (m *members) text(name string) string {
	v, ok := m.get(name)
	if !ok {
		return ""
	}
	s, err := v.String()
	if err != nil {
		m.fail(name, "%s must be a string", name)
	}
	return s
}

// flag takes what pydantic does for a bool: also 1 and 0, and the usual words for them.
func (m *members) flag(name string) bool {
	v, ok := m.get(name)
	if !ok {
		return false
	}
	word := string(v)
	if v.Kind() == rawjson.KindString {
		word, _ = v.String() // parsed already
	}
	switch strings.ToLower(word) {
	case "true", "1", "1.0", "t", "y", "yes", "on":
		return true
	case "false", "0", "0.0", "f", "n", "no", "off":
		return false
	}
	m.fail(name, "%s must be true or false", name)
	return false
}

// integer reads an integer, also one that is written as 16.0 or 1e3. A string or a bool may be one
// to pydantic: such a member is left for the engine to judge, in one piece with the rest.
func (m *members) integer(name string) (int64, bool) {
	v, ok := m.scalar(name)
	if !ok {
		return 0, false
	}
	n, err := whole(v)
	if err != nil {
		m.fail(name, "%s must be an integer", name)
		return 0, false
	}
	return n, true
}

// peek reads an integer that no engine looks at any more and that therefore cannot be at fault.
func (m *members) peek(name string) (int64, bool) {
	v, ok := m.get(name)
	if !ok {
		return 0, false
	}
	n, err := whole(v)
	return n, err == nil
}

func (m *members) number(name string) (float64, bool) {
	v, ok := m.scalar(name)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// scalar returns a member that is a number; ok is false for one that may stand for a number.
func (m *members) scalar(name string) (v rawjson.Value, ok bool) {
	v, ok = m.get(name)
	if !ok {
		return nil, false
	}
	switch v.Kind() {
	case rawjson.KindNumber:
		return v, true
	case rawjson.KindString, rawjson.KindBool:
		m.loose = true
		return nil, false
	case rawjson.KindInvalid, rawjson.KindNull, rawjson.KindArray, rawjson.KindObject:
	}
	m.fail(name, "%s must be a number", name)
	return nil, false
}

// whole returns a number without a fraction; one beyond 64 bits becomes the nearest that is not.
func whole(v rawjson.Value) (int64, error) {
	n, err := v.Int64()
	if !errors.Is(err, rawjson.ErrNotInt) {
		return n, err
	}
	f, parseErr := strconv.ParseFloat(string(v), 64)
	switch {
	case parseErr != nil && !errors.Is(parseErr, strconv.ErrRange) || f != math.Trunc(f):
		return 0, err
	case f >= math.MaxInt64:
		return math.MaxInt64, nil
	case f <= math.MinInt64:
		return math.MinInt64, nil
	}
	return int64(f), nil
}
