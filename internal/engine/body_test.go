package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// stripped takes the coding off in parts of at most so many bytes. rest is what follows its end.
func stripped(coded string, part int) (data, rest string, err error) {
	var c chunks
	var out []byte
	in := []byte(coded)
	for len(in) > 0 && c.state != chunkNone {
		n := min(part, len(in))
		got, used, err := c.strip(in[:n])
		out = append(out, got...)
		if err != nil {
			return string(out), "", err
		}
		in = in[used:]
	}
	if c.state != chunkNone {
		return string(out), "", io.ErrUnexpectedEOF
	}
	return string(out), string(in), nil
}

func TestChunksAreTakenApart(t *testing.T) {
	for name, tc := range map[string]struct{ coded, data, rest string }{
		"one":                 {"3\r\nabc\r\n0\r\n\r\n", "abc", ""},
		"several":             {"3\r\nabc\r\n1a\r\n" + strings.Repeat("d", 26) + "\r\n00\r\n\r\n", "abc" + strings.Repeat("d", 26), ""},
		"large digits":        {"1A\r\n" + strings.Repeat("\n", 26) + "\r\n0\r\n\r\n", strings.Repeat("\n", 26), ""},
		"extensions":          {"3;a=b\r\nabc\r\n0 ;x\r\n\r\n", "abc", ""},
		"trailers":            {"3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n", "abc", ""},
		"none":                {"0\r\n\r\n", "", ""},
		"the next answer too": {"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200", "abc", "HTTP/1.1 200"},
	} {
		for part := 1; part <= len(tc.coded); part++ {
			if data, rest, err := stripped(tc.coded, part); data != tc.data || rest != tc.rest || err != nil {
				t.Errorf("%s, %d bytes at a time: %q and %q, %v", name, part, data, rest, err)
			}
		}
	}
}

func TestBrokenChunksAreErrors(t *testing.T) {
	for name, coded := range map[string]string{
		"no size":           "\r\nabc\r\n",
		"no number":         "xyz\r\nabc\r\n",
		"two numbers":       "3 3\r\nabc\r\n",
		"negative":          "-3\r\nabc\r\n",
		"too many digits":   "1234567890123456\r\n",
		"LF alone":          "3\nabc\r\n",
		"CR alone":          "3\rabc\r\n",
		"longer than said":  "3\r\nabcd\r\n",
		"no end of data":    "3\r\nabc3\r\n",
		"endless extension": "3;" + strings.Repeat("x", maxChunkLines) + "\r\nabc\r\n",
		"endless trailer":   "0\r\n" + strings.Repeat("a: b\r\n", maxChunkLines/6) + "\r\n",
	} {
		if data, _, err := stripped(coded, 1<<10); !errors.Is(err, errChunk) {
			t.Errorf("%s: %.20q, %v", name, data, err)
		}
	}
	if _, _, err := stripped("3\r\nabc\r\n", 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without an end: %v", err)
	}
}

// What is accepted means what it means to net/http, in whatever parts it comes.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"3\r\nabc\r\n0\r\n\r\n", "3;a\r\nabc\r\n0\r\nA: b\r\n\r\nrest", "a \r\n", "0\r\n\r", "3\r\nabc\n0\r\n\r\n"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, coded string, part int) {
		data, rest, err := stripped(coded, max(1, part))
		if whole, all, wholeErr := stripped(coded, len(coded)+1); whole != data || all != rest || (err == nil) != (wholeErr == nil) {
			t.Errorf("in parts %q, %q, %v; at once %q, %q, %v", data, rest, err, whole, all, wholeErr)
		}
		if err != nil {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(strings.NewReader(coded))))
		if err != nil || !bytes.Equal(want, []byte(data)) {
			t.Errorf("%q is %q here; net/http says %q, %v", coded, data, want, err)
		}
	})
}
