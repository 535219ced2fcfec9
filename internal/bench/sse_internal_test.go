package bench

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readEvents(text string) (all []string, err error) {
	events := newEvents(strings.NewReader(text))
	for {
		data, _, err := events.next()
		if err != nil {
			return all, err
		}
		all = append(all, string(data))
	}
}

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		name, text string
		want       []string
		err        error
	}{
		{"as servers send them", "data: a\n\ndata: b\n\ndata: [DONE]\n\n", []string{"a", "b"}, io.EOF},
		{"CRLF, no space", "data:a\r\n\r\ndata: [DONE]\r\n\r\n", []string{"a"}, io.EOF},
		{"comments and other fields", ": hello\n\nevent: x\nid: 1\ndata: a\nretry: 5\n\n: bye\n\ndata: [DONE]\n\n: more\n\n", []string{"a"}, io.EOF},
		{"several data lines", "data: a\ndata: b\n\ndata: [DONE]\n\n", []string{"a\nb"}, io.EOF},
		{"a long line", "data: " + long + "\n\ndata: [DONE]\n\n", []string{long}, io.EOF},
		{"no [DONE]", "data: a\n\n", []string{"a"}, errNoDone},
		{"nothing", "", nil, errNoDone},
		{"half an event", "data: a\n\ndata: b\n", []string{"a"}, errNoDone},
		{"half a [DONE]", "data: a\n\ndata: [DONE]\n", []string{"a"}, errNoDone},
		{"more after [DONE]", "data: [DONE]\n\ndata: a\n\n", nil, errNotSSE},
		{"no event stream", "{\"error\":1}\n\n", nil, errNotSSE},
		{"an endless line", "data: " + strings.Repeat("x", maxLine+1<<20), nil, errNotSSE},
	} {
		got, err := readEvents(tt.text)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("data: a\n\ndata: [DONE]\n\n", "b")
	f.Add(": c\r\ndata:\r\n\r\n", "")
	f.Fuzz(func(t *testing.T, text, data string) {
		_, _ = readEvents(text) // must end
		if strings.ContainsAny(data, "\r\n") || data == "[DONE]" {
			return
		}
		got, err := readEvents("data: " + data + "\n\ndata: [DONE]\n\n")
		if !errors.Is(err, io.EOF) || len(got) != 1 || got[0] != data {
			t.Errorf("sent %q, read %q, %v", data, got, err)
		}
	})
}
