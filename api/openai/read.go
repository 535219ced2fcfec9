package openai

import (
	"errors"
	"math"
	"strconv"

	"github.com/baton-llm/baton/internal/rawjson"
)

// members reads optional members of one object. The first fault sticks and what is read after it
// is absent, so that a caller checks err once. A member whose value is null counts as absent.
type members struct {
	object *rawjson.Object
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

func (m *members) flag(name string) bool {
	v, ok := m.get(name)
	if !ok {
		return false
	}
	b, err := v.Bool()
	if err != nil {
		m.fail(name, "%s must be true or false", name)
	}
	return b
}

// integer accepts what pydantic does: an integer, also when it is written as 16.0 or 1e3.
func (m *members) integer(name string) (int64, bool) {
	v, ok := m.get(name)
	if !ok {
		return 0, false
	}
	n, err := v.Int64()
	if errors.Is(err, rawjson.ErrNotInt) {
		const exact = 1 << 53 // above it a float64 skips integers
		f, parseErr := strconv.ParseFloat(string(v), 64)
		if parseErr == nil && f == math.Trunc(f) && math.Abs(f) < exact {
			return int64(f), true
		}
	}
	if err != nil {
		m.fail(name, "%s must be a 64-bit integer", name)
		return 0, false
	}
	return n, true
}

func (m *members) number(name string) (float64, bool) {
	v, ok := m.get(name)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if v.Kind() != rawjson.KindNumber || err != nil {
		m.fail(name, "%s must be a number", name)
		return 0, false
	}
	return f, true
}

// atLeast reads an integer and refuses a smaller one in vLLM's words.
func (m *members) atLeast(name string, least int64) (int64, bool) {
	n, ok := m.integer(name)
	if ok && n < least {
		m.fail(name, "%s must be at least %d, got %d.", name, least, n)
		return 0, false
	}
	return n, ok
}
