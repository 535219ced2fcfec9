package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/router"
)

// ended says how long it takes until the server answers, and until it closes the connection.
func (c *client) ended() (answered, closed time.Duration, text string) {
	begun := time.Now()
	first, _ := c.in.Peek(1)
	answered = time.Since(begun)
	all, _ := io.ReadAll(c.in)
	if len(first) == 0 {
		answered = 0
	}
	return answered, time.Since(begun), string(all)
}

// drip sends one byte a pause until the server does not take it any more.
func (c *client) drip(text string, pause time.Duration) {
	c.sending.Go(func() {
		for i := range len(text) {
			if _, err := c.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(pause)
		}
	})
}

func TestSlowClientsAreGivenUp(t *testing.T) {
	get := "GET /version HTTP/1.1\r\nHost: x\r\n"
	padded := chatBody + strings.Repeat(" ", 1000)
	header := head("Content-Length: " + decimal(len(padded)))
	for _, c := range []struct {
		name             string
		do               func(*client)
		answered, closed time.Duration // with a second's grace
		answer           string
	}{
		{"nothing is sent", func(*client) {}, 0, 10 * time.Second, ""},
		{"header byte by byte", func(c *client) { c.drip(get+"X-A: "+strings.Repeat("a", 1000), time.Second) }, 10 * time.Second, 10 * time.Second, "HTTP/1.1 400 "},
		{"header without an end", func(c *client) { c.send(get) }, 0, 10 * time.Second, ""},
		{"idle after an answer", func(c *client) {
			c.send(get + "\r\n")
			c.answer("GET")
		}, 0, 2 * time.Minute, ""},
		{"second header without an end", func(c *client) {
			c.send(get + "\r\n")
			c.answer("GET")
			time.Sleep(time.Minute)
			c.send(get)
		}, 0, 10 * time.Second, ""},
		{"idle after a request that waited", func(c *client) {
			c.send(post(chatBody))
			c.answer("POST")
		}, 0, 2 * time.Minute, ""},
		{"header without an end after a request that waited", func(c *client) {
			c.send(post(chatBody))
			c.answer("POST")
			time.Sleep(time.Minute)
			c.send(get)
		}, 0, 10 * time.Second, ""},
		// After the answer, what is left of the body may come for as long again.
		{"body that stops", func(c *client) { c.send(header + padded[:100]) }, 30 * time.Second, time.Minute, "HTTP/1.1 408 "},
		{"body byte by byte", func(c *client) {
			c.send(header)
			c.drip(padded, 100*time.Millisecond)
		}, 30 * time.Second, time.Minute, "HTTP/1.1 408 "},
		{"body of a refused request", func(c *client) {
			c.send(strings.Replace(header, chatPath, "/nothing", 1))
			c.drip(padded, 100*time.Millisecond)
		}, 30 * time.Second, 30 * time.Second, "HTTP/1.1 404 "}, // net/http first reads the rest of a short body
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startVirtual(t, failing(errors.New("called")), oneModel, nil)
				conn := h.connect(t)
				c.do(conn)
				answered, closed, text := conn.ended()
				if answered.Truncate(time.Second) != c.answered || !strings.HasPrefix(text, c.answer) || (c.answer == "" && text != "") {
					t.Errorf("the answer comes after %v and is %q, want %v and %q", answered, text, c.answered, c.answer)
				}
				if closed.Truncate(time.Second) != c.closed {
					t.Errorf("the connection ends after %v, want %v", closed, c.closed)
				}
			})
		})
	}
}

// slowly pauses before each of n events and before the end.
func slowly(n int, pause time.Duration) *fakeRouter {
	return &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) {
		return &late{script: newScript(nil, slices.Repeat([]string{`{"a":1}`}, n)...), pause: pause}, nil
	}}
}

type late struct {
	*script
	pause time.Duration
}

func (l *late) Next(ctx context.Context) ([]byte, error) {
	select {
	case <-time.After(l.pause):
		return l.script.Next(ctx)
	case <-ctx.Done(): // as for a client that left
		return nil, context.Cause(ctx)
	}
}

// A large upload over a slow line is not cut as long as it goes on.
func TestSlowUploadsMayTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startVirtual(t, echoing(`{"a":1}`), oneModel, nil)
		c := h.connect(t)
		const size, part = 4 << 20, 64 << 10
		c.sending.Go(func() {
			text := post(chatText(size))
			for len(text) > 0 {
				n := min(part, len(text))
				if _, err := io.WriteString(c.Conn, text[:n]); err != nil {
					t.Error(err)
					return
				}
				text = text[n:]
				time.Sleep(3 * time.Second)
			}
		})
		begun := time.Now()
		if resp, text := c.answer("POST"); resp.StatusCode != http.StatusOK || time.Since(begun) < 3*time.Minute {
			t.Errorf("after %v the answer is %s %s", time.Since(begun), resp.Status, text)
		}
	})
}

// Nothing bounds how long an answer waits, takes or pauses, and afterwards the connection serves on.
func TestStreamsMayTakeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startVirtual(t, slowly(4, 3*time.Hour), oneModel, nil)
		c := h.connect(t)
		for _, body := range []string{chatSSE, chatBody} {
			begun := time.Now()
			c.send(post(body))
			resp, text := c.answer("POST")
			if took := time.Since(begun); resp.StatusCode != http.StatusOK || strings.Count(text, `{"a":1}`) != 4 || took != 15*time.Hour {
				t.Errorf("after %v the answer is %s %q, want 15h", took, resp.Status, text)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A client that stops reading is cut, and its request cancelled, write_timeout after the first
// byte that it did not take.
func TestReaderThatStopsIsCutInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := endless{newScript(nil)}
		h := startVirtual(t, answering(answer), oneModel, func(c *Config) { c.WriteTimeout = time.Hour })
		c := h.connect(t)
		c.send(post(chatSSE))
		if _, err := io.CopyN(io.Discard, c, 1<<20); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		<-answer.closed
		if took := time.Since(begun); took != time.Hour {
			t.Errorf("the answer is closed after %v, want 1h", took)
		}
		h.counted(t, chatPath, "499")
	})
}
