package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestLargeBodiesArriveWhole(t *testing.T) {
	r := echoing(`{"a":1}`)
	h := start(t, r, oneModel, nil)
	for _, size := range []int{1 << 20, 30 << 20} {
		text := chatText(size)
		for _, length := range []int64{int64(size), -1} {
			req := h.request(t, "POST", chatPath, text)
			req.ContentLength = length
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp); resp.StatusCode != http.StatusOK || string(r.last.Load().Body) != text {
				t.Errorf("%d bytes, length %d: answer is %d %s, and %d bytes arrived", size, length, resp.StatusCode, got, len(r.last.Load().Body))
			}
		}
	}
	if held := h.gauge(t, "baton_http_body_bytes"); held != 0 {
		t.Errorf("%v bytes are still held", held)
	}
}

// The answer to a body that is too large reaches a client that sends all of it first.
func TestTooLargeIsReadable(t *testing.T) {
	r := failing(errors.New("called"))
	h := start(t, r, oneModel, func(c *Config) { c.MaxBody = 1 << 20 })
	text := chatText(1<<20 + 1)
	for name, sent := range map[string]string{
		"length":           post(text),
		"chunked":          head("Transfer-Encoding: chunked") + chunkSize(len(text)) + "\r\n" + text + "\r\n0\r\n\r\n",
		"length in digits": head("Content-Length: 9223372036854775807"),
	} {
		c := h.connect(t)
		c.offer(sent)
		resp, body := c.answer("POST")
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.HasPrefix(body, `{"error":{"message":"The body is larger than 1048576 bytes."`) || !resp.Close {
			t.Errorf("%s: answer is %d %q, close %t", name, resp.StatusCode, body, resp.Close)
		}
	}
	if n := r.calls.Load(); n != 0 {
		t.Errorf("the router was called %d times", n)
	}
}

func TestBodiesThatAreNoCleanJSON(t *testing.T) {
	r := failing(errors.New("called"))
	h := start(t, r, oneModel, nil)
	in := func(more string) string { return strings.Replace(chatBody, `{"model"`, `{`+more+`,"model"`, 1) }
	for name, body := range map[string]string{
		"empty":                    "",
		"only white space":         " \r\n\t ",
		"byte order mark":          "\ufeff" + chatBody,
		"UTF-16":                   "{\x00}\x00",
		"NUL in front":             "\x00" + chatBody,
		"NUL behind":               chatBody + "\x00",
		"NUL in a string":          strings.Replace(chatBody, "secret", "sec\x00ret", 1),
		"invalid UTF-8":            strings.Replace(chatBody, "secret", "sec\xffret", 1),
		"surrogate as UTF-8":       strings.Replace(chatBody, "secret", "sec\xed\xa0\x80ret", 1),
		"overlong UTF-8":           strings.Replace(chatBody, "secret", "sec\xc0\xafret", 1),
		"line break in a string":   strings.Replace(chatBody, "secret", "sec\nret", 1),
		"member twice":             in(`"model":"m"`),
		"member twice, escaped":    in(`"mod\u0065l":"m"`),
		"member twice, far inside": in(`"metadata":{"a":[{"b":1,"b":2}]}`),
		"deep arrays":              in(`"metadata":` + strings.Repeat("[", 200) + strings.Repeat("]", 200)),
		"very deep, never closed":  in(`"metadata":` + strings.Repeat(`{"a":`, 1_000_000)),
		"two values":               chatBody + chatBody,
		"trailing comma":           strings.Replace(chatBody, "}]}", "}],}", 1),
		"comment":                  in(`/* a */"a":1`),
		"single quotes":            strings.ReplaceAll(chatBody, `"`, `'`),
		"NaN":                      in(`"temperature":NaN`),
		"number with a plus":       in(`"seed":+1`),
		"array":                    "[" + chatBody + "]",
		"string":                   `"a"`,
		"null":                     "null",
	} {
		t.Run(name, func(t *testing.T) {
			c := h.connect(t)
			c.offer(post(body))
			resp, text := c.answer("POST")
			if resp.StatusCode != http.StatusBadRequest || !strings.HasPrefix(text, `{"error":{"message":"`) || len(text) > 1000 {
				t.Errorf("answer is %d %.1000q, want a short 400", resp.StatusCode, text)
			}
			if strings.Contains(text, "secret") {
				t.Errorf("the answer repeats the prompt: %s", text)
			}
			c.send("GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
			if resp, _ := c.answer("GET"); resp.StatusCode != http.StatusOK {
				t.Errorf("the connection is of no more use: %s", resp.Status)
			}
		})
	}
	if n := r.calls.Load(); n != 0 {
		t.Errorf("the router was called %d times", n)
	}
}

// What another server on the way may have read as two requests is never two here, and after it the
// connection ends.
func TestOneRequestIsNeverTwo(t *testing.T) {
	const second = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
	chunk := chunkSize(len(chatBody)) + "\r\n" + chatBody + "\r\n"
	length := "Content-Length: " + decimal(len(chatBody))
	for _, c := range []struct {
		name, sent string
		status     int
	}{
		{"length and chunks", head("Content-Length: 4", "Transfer-Encoding: chunked") + chunk + "0\r\n\r\n", 200}, // RFC 9112, 6.3: chunks count
		{"chunks and length", head("Transfer-Encoding: chunked", "Content-Length: 4") + chunk + "0\r\n\r\n", 200},
		{"two lengths", head(length, "Content-Length: 4") + chatBody, 400},
		{"two lengths in one", head(length+", 4") + chatBody, 400},
		{"length with a sign", head("Content-Length: +4") + chatBody, 400},
		{"length below zero", head("Content-Length: -1") + chatBody, 400},
		{"length in hexadecimal", head("Content-Length: 0x4") + chatBody, 400},
		{"length beyond 64 bits", head("Content-Length: 18446744073709551620") + chatBody, 400},
		{"empty length", head("Content-Length: ") + chatBody, 400},
		{"unknown coding", head("Transfer-Encoding: xchunked", length) + chatBody, 501},
		{"gzip, chunked", head("Transfer-Encoding: gzip, chunked") + chunk + "0\r\n\r\n", 501},
		{"chunked twice", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + chunk + "0\r\n\r\n", 501},
		{"identity", head("Transfer-Encoding: identity", length) + chatBody, 501},
		{"chunked with a tab inside", head("Transfer-Encoding: chun\tked", length) + chatBody, 501},
		{"chunked with a control character", head("Transfer-Encoding: \x0bchunked", length) + chatBody, 400},
		{"space before a colon", head("Transfer-Encoding : chunked", length) + chatBody, 400},
		{"space in a name", head("Content Length: 4", length) + chatBody, 400},
		{"empty name", head(": a", length) + chatBody, 400},
		{"line without a colon", head("Transfer-Encoding", length) + chatBody, 400},
		{"NUL in a value", head("X-A: a\x00b", length) + chatBody, 400},
		{"carriage return in a value", head("X-A: a\rTransfer-Encoding: chunked", length) + chatBody, 400},
		{"first line folded", strings.Replace(head(length), "Host: x\r\n", " Host: x\r\n", 1) + chatBody, 400},
		{"folded coding", head("Transfer-Encoding:\r\n chunked", "Content-Length: 4") + chunk + "0\r\n\r\n", 200}, // RFC 9112, 5.2: read as a space
		{"no host", strings.Replace(head(length), "Host: x\r\n", "", 1) + chatBody, 400},
		{"two hosts", head("Host: y", length) + chatBody, 400},
		{"host with a slash", strings.Replace(head(length), "Host: x", "Host: x/y", 1) + chatBody, 400},
		{"HTTP/1.0 with chunks", strings.Replace(head("Connection: keep-alive", "Transfer-Encoding: chunked"), "HTTP/1.1", "HTTP/1.0", 1) + chunk + "0\r\n\r\n", 400},
		{"HTTP/3.0", strings.Replace(post(chatBody), "HTTP/1.1", "HTTP/3.0", 1), 505},
		{"no version", "POST " + chatPath + "\r\n" + length + "\r\n\r\n" + chatBody, 400},
		{"space in the target", strings.Replace(post(chatBody), " HTTP/1.1", "? a HTTP/1.1", 1), 400},
		{"bare line feed in a chunk's size", head("Transfer-Encoding: chunked") + chunkSize(len(chatBody)) + "\n" + chatBody + "\r\n0\r\n\r\n", 400},
		{"bare line feed in an extension", head("Transfer-Encoding: chunked") + chunkSize(len(chatBody)) + ";a\n\r\n" + chatBody + "\r\n0\r\n\r\n", 400},
		{"chunk longer than it says", head("Transfer-Encoding: chunked") + "4\r\n" + chatBody + "\r\n0\r\n\r\n", 400},
		{"chunk of a negative size", head("Transfer-Encoding: chunked") + "-4\r\n" + chatBody + "\r\n0\r\n\r\n", 400},
		{"chunk of a size in 0x", head("Transfer-Encoding: chunked") + "0x4\r\n" + chatBody + "\r\n0\r\n\r\n", 400},
		{"chunk of a size beyond 64 bits", head("Transfer-Encoding: chunked") + strings.Repeat("f", 17) + "\r\n" + chatBody, 400},
		{"chunk without a size", head("Transfer-Encoding: chunked") + "\r\n" + chatBody + "\r\n0\r\n\r\n", 400},
		{"endless extension", head("Transfer-Encoding: chunked") + "1;" + strings.Repeat("a", 100_000) + "\r\n{\r\n0\r\n\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := echoing(`{"a":1}`)
			h := start(t, r, oneModel, nil)
			conn := h.connect(t)
			conn.offer(c.sent + second)
			text, _ := io.ReadAll(conn.in) // what is left unread at the server's end may reset the connection
			got := string(text)
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) && !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.0 %d ", c.status)) {
				t.Errorf("answer is %q, want %d", got, c.status)
			}
			if n := strings.Count(got, "HTTP/1."); n != 1 || strings.Contains(got, "v1\"") {
				t.Errorf("there are %d answers: %q", n, got)
			}
			if n := r.calls.Load(); (c.status == http.StatusOK) != (n == 1) {
				t.Errorf("the router was called %d times", n)
			}
		})
	}
}
