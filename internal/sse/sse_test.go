package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

type event struct{ Name, Data string }

// from has each part in the same memory, as a connection does.
func from(r io.Reader) Source {
	buf := make([]byte, 4<<10)
	return func() ([]byte, error) {
		n, err := r.Read(buf)
		if n > 0 {
			return buf[:n], nil
		}
		return nil, err
	}
}

func all(r io.Reader, limit int) (out []event, err error) {
	events := NewReader(from(r), limit)
	for {
		e, err := events.Next()
		if err != nil {
			return out, err
		}
		out = append(out, event{string(e.Name), string(e.Data)})
	}
}

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", 100_000) // more than the reader's buffer
	for name, tc := range map[string]struct {
		in   string
		want []event
	}{
		"plain":               {"data: a\n\ndata: b\n\n", []event{{"", "a"}, {"", "b"}}},
		"CRLF":                {"data: a\r\n\r\ndata: b\r\n\r\n", []event{{"", "a"}, {"", "b"}}},
		"no space, two":       {"data:a\n\ndata:  b\n\n", []event{{"", "a"}, {"", " b"}}},
		"several lines":       {"data: a\ndata: b\n\n", []event{{"", "a\nb"}}},
		"comments and fields": {": hi\n\n: x\nid: 7\nretry: 1\ndata: a\n: y\n\n\n\n", []event{{"", "a"}}},
		"names":               {"event: e\ndata: a\n\ndata: b\nevent:f\n\ndata: c\n\n", []event{{"e", "a"}, {"f", "b"}, {"", "c"}}},
		"the last name":       {"event: e\nevent: f\ndata: a\n\n", []event{{"f", "a"}}},
		"a name without data": {"event: ping\n\ndata: a\n\n", []event{{"", "a"}}},
		"empty data":          {"data\n\ndata:\n\n", []event{{"", ""}, {"", ""}}},
		"other field":         {"database: a\n\n", nil},
		"no end":              {"data: a\n\ndata: b\n", []event{{"", "a"}}},
		"DONE at the end":     {"data: a\n\ndata: [DONE]", []event{{"", "a"}, {"", "[DONE]"}}},
		"long":                {"data: " + long + "\n\ndata: b\n\n", []event{{"", long}, {"", "b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
				got, err := all(r, 1<<20)
				if d := cmp.Diff(tc.want, got); d != "" || !errors.Is(err, io.EOF) {
					t.Errorf("ended with %v, events:\n%s", err, d)
				}
			}
		})
	}
}

func TestEventsAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		in string
		ok bool
	}{
		"just fits":        {"data: " + strings.Repeat("x", 100) + "\r\n\r\n", true},
		"one more":         {"data: " + strings.Repeat("x", 101) + "\n\n", false},
		"sum of lines":     {strings.Repeat("data: xxxxxxxxx\n", 11) + "\n", false},
		"endless comment":  {":" + strings.Repeat("x", 1<<20), false},
		"endless name":     {"event:" + strings.Repeat("x", 1<<20), false},
		"endless data":     {"data:" + strings.Repeat("x", 1<<20), false},
		"endless newlines": {strings.Repeat("data:\n", 1000), false},
	} {
		_, err := all(strings.NewReader(tc.in), 100)
		if got := !errors.Is(err, ErrTooLarge); got != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppend(t *testing.T) {
	for want, e := range map[string]event{
		"data: a\n\n":                        {"", "a"},
		"data: \n\n":                         {"", ""},
		"event: e\ndata: a\n\n":              {"e", "a"},
		"event: e\ndata: a\ndata:  b\n\n":    {"e", "a\n b"},
		"data: {\ndata: \ndata: data: }\n\n": {"", "{\n\ndata: }"},
	} {
		if got := string(Append(nil, []byte(e.Name), []byte(e.Data))); got != want {
			t.Errorf("Append of %q = %q, want %q", e, got, want)
		}
	}
}

// What was read and is written again reads as the same events.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "data: a\r\ndata: b\r\n\r\n: c\n\ndata: [DONE]\n\n", "data", "event: x\nid\n\n", "event: x\ndata: a\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		const limit = 64
		whole, err := all(strings.NewReader(in), limit)
		slow, slowErr := all(iotest.OneByteReader(strings.NewReader(in)), limit)
		if d := cmp.Diff(whole, slow); d != "" || err.Error() != slowErr.Error() {
			t.Errorf("how the input arrives matters: %v, %v\n%s", err, slowErr, d)
		}
		var again []byte
		for _, e := range whole {
			if len(e.Data) > limit {
				t.Errorf("event of %d bytes", len(e.Data))
			}
			again = Append(again, []byte(e.Name), []byte(e.Data))
		}
		if strings.Contains(in, "\r") {
			return // a lone CR inside of a line is data, one at its end is not
		}
		if got, err := all(strings.NewReader(string(again)), limit); !errors.Is(err, io.EOF) || cmp.Diff(whole, got) != "" {
			t.Errorf("events written out read as %q, %v; want %q", got, err, whole)
		}
	})
}

// What was written of events without names is cut into the same again.
func FuzzCut(f *testing.F) {
	f.Add("a", "b\nc")
	f.Add("", "\n\ndata: x")
	f.Fuzz(func(t *testing.T, first, second string) {
		blocks := Append(Append(nil, nil, []byte(first)), nil, []byte(second))
		if n := Count(blocks); n != 2 {
			t.Errorf("%q has %d blocks, want 2", blocks, n)
		}
		one, rest := Cut(blocks)
		two, end := Cut(rest)
		if string(one) != first || string(two) != second || len(end) > 0 {
			t.Errorf("%q is cut into %q, %q and %q", blocks, one, two, end)
		}
	})
}

// parts returns one of its strings with each Read, and fails the test where one is asked for after More said that
// there was no need.
type parts struct {
	t    *testing.T
	rest []string
	more bool
}

func (p *parts) Read(b []byte) (int, error) {
	if p.more {
		p.t.Error("Next reads although there is more")
	}
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	p.rest = p.rest[1:]
	return n, nil
}

func TestMoreIsWhatNeedsNoReading(t *testing.T) {
	for name, tc := range map[string]struct {
		reads []string
		want  []bool // after each event
	}{
		"together":                {[]string{"data: a\n\ndata: b\n\ndata: [DONE]\n\n"}, []bool{true, true, false}},
		"one by one":              {[]string{"data: a\n\n", "data: b\n\n"}, []bool{false, false}},
		"half of the next":        {[]string{"data: a\n\ndata: b\n", "\ndata: c\n\n"}, []bool{false, true, false}},
		"CRLF":                    {[]string{"data: a\r\n\r\ndata: b\r\n\r\ndata: c\r\n", "\r\n"}, []bool{true, false, false}},
		"names":                   {[]string{"event: a\ndata: a\n\nevent: b\ndata: b\n\nevent: c\n", "data: c\n\n"}, []bool{true, false, false}},
		"a comment":               {[]string{"data: a\n\n: ping\n\n", "data: b\n\n"}, []bool{false, false}},
		"a name of nothing":       {[]string{"data: a\n\nevent: b\n\n", "data: c\n\n"}, []bool{false, false}},
		"several lines":           {[]string{"data: a\n\ndata: b\ndata: c\n\n"}, []bool{true, false}},
		"several lines, not all":  {[]string{"data: a\n\ndata: b\n", "data: c\n\n"}, []bool{false, false}},
		"others that cannot tell": {[]string{"data: a\n\nid: 1\ndata: b\n\n"}, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			in := &parts{t: t, rest: tc.reads}
			r := NewReader(from(in), 100)
			var got []bool
			for {
				if _, err := r.Next(); err != nil {
					break
				}
				in.more = r.More()
				got = append(got, in.more)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
