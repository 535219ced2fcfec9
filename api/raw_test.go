package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is one connection that says exactly what a test wants.
type client struct {
	t *testing.T
	net.Conn
	in      *bufio.Reader
	sending sync.WaitGroup
}

// connect opens a connection that the test closes at its end, at the latest.
func (h *harness) connect(t *testing.T) *client {
	t.Helper()
	conn, err := h.dial(t.Context(), "tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, Conn: conn, in: bufio.NewReader(conn)}
	t.Cleanup(func() {
		_ = conn.Close()
		c.sending.Wait()
	})
	if _, real := conn.(*net.TCPConn); real { // in virtual time a wait for ever fails the test by itself
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// offer sends text as far as the server takes it, beside what the test does.
func (c *client) offer(text string) {
	c.sending.Go(func() { _, _ = io.WriteString(c.Conn, text) })
}

// answer reads the next answer, which is one to a request of the given method.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, readAll(c.t, resp)
}

// rest is all that comes until the server closes the connection, which must not be a reset.
func (c *client) rest() string {
	c.t.Helper()
	text, err := io.ReadAll(c.in)
	if err != nil {
		c.t.Fatalf("read after %q: %v", text, err)
	}
	return string(text)
}

// halfClose tells the server that nothing more will be sent.
func (c *client) halfClose() {
	c.t.Helper()
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// raw sends bytes and returns all that comes until the server closes the connection.
func (h *harness) raw(t *testing.T, sent string) string {
	t.Helper()
	c := h.connect(t)
	c.send(sent)
	return c.rest()
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read after %q: %v", text, err)
	}
	return string(text)
}

// post is the head and body of a chat request; more holds header lines.
func post(body string, more ...string) string {
	return head(append(more, "Content-Length: "+decimal(len(body)))...) + body
}

// head is a chat request up to its body.
func head(more ...string) string {
	lines := append([]string{"POST " + chatPath + " HTTP/1.1", "Host: x", "Content-Type: application/json"}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func decimal(n int) string { return strconv.Itoa(n) }

// chunkSize is a size as chunks have it.
func chunkSize(n int) string { return strconv.FormatInt(int64(n), 16) }
