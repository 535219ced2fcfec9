package engine

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func all(r io.Reader, limit int) (out []string, err error) {
	e := newEvents(r, limit)
	for {
		data, err := e.next()
		if err != nil {
			return out, err
		}
		out = append(out, string(data))
	}
}

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", 100_000) // more than the reader's buffer
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"plain":               {"data: a\n\ndata: b\n\n", []string{"a", "b"}},
		"CRLF":                {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
		"no space, two":       {"data:a\n\ndata:  b\n\n", []string{"a", " b"}},
		"several lines":       {"data: a\ndata: b\n\n", []string{"a\nb"}},
		"comments and fields": {": hi\n\n: x\nevent: e\nid: 7\nretry: 1\ndata: a\n: y\n\n\n\n", []string{"a"}},
		"empty data":          {"data\n\ndata:\n\n", []string{"", ""}},
		"other field":         {"database: a\n\n", nil},
		"no end":              {"data: a\n\ndata: b\n", []string{"a"}},
		"DONE at the end":     {"data: a\n\ndata: [DONE]", []string{"a", "[DONE]"}},
		"long":                {"data: " + long + "\n\ndata: b\n\n", []string{long, "b"}},
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
		"endless data":     {"data:" + strings.Repeat("x", 1<<20), false},
		"endless newlines": {strings.Repeat("data:\n", 1000), false},
	} {
		_, err := all(strings.NewReader(tc.in), 100)
		if got := !errors.Is(err, ErrTooLarge); got != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "data: a\r\ndata: b\r\n\r\n: c\n\ndata: [DONE]\n\n", "data", "event: x\nid\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		const limit = 64
		whole, err := all(strings.NewReader(in), limit)
		slow, slowErr := all(iotest.OneByteReader(strings.NewReader(in)), limit)
		if d := cmp.Diff(whole, slow); d != "" || err.Error() != slowErr.Error() {
			t.Errorf("how the input arrives matters: %v, %v\n%s", err, slowErr, d)
		}
		var again strings.Builder
		for _, e := range whole {
			if len(e) > limit {
				t.Errorf("event of %d bytes", len(e))
			}
			for line := range strings.SplitSeq(e, "\n") {
				again.WriteString("data: " + line + "\n")
			}
			again.WriteString("\n")
		}
		if strings.Contains(in, "\r") {
			return // a lone CR inside of a line is data, one at its end is not
		}
		if got, err := all(strings.NewReader(again.String()), limit); !errors.Is(err, io.EOF) || cmp.Diff(whole, got) != "" {
			t.Errorf("events written out read as %q, %v; want %q", got, err, whole)
		}
	})
}
