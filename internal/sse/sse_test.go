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

func all(r io.Reader, limit int) (out []event, err error) {
	events := NewReader(r, limit)
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
