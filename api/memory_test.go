package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/router"
)

// A hundred clients send half of a large body each and then nothing: what they hold is bounded,
// others are told to come again, and all of it is free once they are given up.
func TestBodiesThatTrickleDoNotExhaustMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, room = 1 << 20, 8 << 20
		r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "{}"), nil }}
		h := startVirtual(t, r, oneModel, func(c *Config) { c.MaxBody, c.MaxBodyMemory = size, room })
		text := chatText(size)
		most := 0.0
		answers := make(chan string, 100)
		for range cap(answers) {
			c := h.connect(t)
			c.offer(head("Content-Length: 1048576") + text[:size/2])
			go func() {
				defer func() { _ = c.Close() }()
				resp, body := c.answer("POST")
				if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
					t.Error("the 503 has no Retry-After")
				}
				answers <- resp.Status + body
			}()
			synctest.Wait()
			most = max(most, h.gauge(t, "baton_http_body_bytes"))
		}
		if most < room/2 || most > room {
			t.Errorf("the bodies hold up to %v bytes, want less than %d and not much less", most, room)
		}
		refused, late := 0, 0
		for range cap(answers) {
			switch got := <-answers; {
			case strings.HasPrefix(got, "503 ") && strings.Contains(got, `{"error":{"message":"Too many request bodies`):
				refused++
			case strings.HasPrefix(got, "408 "):
				late++
			default:
				t.Errorf("answer %s", got)
			}
		}
		if refused == 0 || late == 0 {
			t.Errorf("%d were refused and %d given up, want some of each", refused, late)
		}
		synctest.Wait()
		if held := h.gauge(t, "baton_http_body_bytes"); held != 0 {
			t.Errorf("%v bytes are still held", held)
		}
		c := h.connect(t)
		c.offer(post(text))
		if resp, _ := c.answer("POST"); resp.StatusCode != http.StatusOK {
			t.Errorf("afterwards a whole body gets %s", resp.Status)
		}
	})
}

// A body that finds no room at once waits for the ones before it, and its wait is not held against
// its client.
func TestBodyWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 100 << 10
		h := startVirtual(t, answering(newScript(nil, "{}")), oneModel, func(c *Config) {
			c.MaxBody, c.MaxBodyMemory, c.BodyTimeout = size, memoryFor(size), 2*time.Second
		})
		slow := [2]*client{h.connect(t), h.connect(t)}
		for _, c := range slow {
			c.send(head("Content-Length: 102400") + "{") // which takes all the room, for 2 seconds
		}
		synctest.Wait()
		c := h.connect(t)
		begun := time.Now()
		c.send(head("Content-Length: 102400"))
		time.Sleep(3 * time.Second)
		c.offer(chatText(size))
		resp, _ := c.answer("POST")
		if took := time.Since(begun); resp.StatusCode != http.StatusOK || took != 3*time.Second {
			t.Errorf("answer is %s after %v, want 200 after 3s", resp.Status, took)
		}
		for _, c := range slow {
			if resp, _ := c.answer("POST"); resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("answer is %s, want 408", resp.Status)
			}
		}
	})
}

// A client gets memory for what it has sent, and as much again, whatever length it names.
func TestMemoryFollowsWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startVirtual(t, failing(errors.New("called")), oneModel, nil)
		for _, length := range []string{"Content-Length: 31457280", "Transfer-Encoding: chunked"} {
			c := h.connect(t)
			c.send(head(length))
			if strings.HasPrefix(length, "Transfer") {
				c.send(chunkSize(30<<20) + "\r\n")
			}
			for sent := 0; sent < 8<<20; sent += 256 << 10 {
				synctest.Wait()
				if held := h.gauge(t, "baton_http_body_bytes"); held > max(2*float64(sent), 256<<10) {
					t.Errorf("%s: %v bytes are held for %d that were sent", length, held, sent)
				}
				c.send(strings.Repeat(" ", 256<<10))
			}
			_ = c.Close()
			synctest.Wait()
			if held := h.gauge(t, "baton_http_body_bytes"); held != 0 {
				t.Errorf("%s: %v bytes are held for a client that left", length, held)
			}
		}
	})
}

// What the router has taken is its own to count.
func TestAdmittedBodiesDoNotCount(t *testing.T) {
	release, waiting := make(chan struct{}), make(chan struct{})
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) {
		waiting <- struct{}{}
		<-release
		return nil, errors.New("enough")
	}}
	h := start(t, r, oneModel, func(c *Config) { c.MaxBody, c.MaxBodyMemory = 1<<10, memoryFor(1<<10) })
	for range 10 {
		h.connect(t).send(post(chatText(1 << 10)))
		<-waiting
	}
	if held := h.gauge(t, "baton_http_body_bytes"); held != 0 {
		t.Errorf("%v bytes are held", held)
	}
	close(release)
}

// chatText is a chat request of exactly size bytes.
func chatText(size int) string {
	return strings.Replace(chatBody, "a secret", "a secret"+strings.Repeat("x", size-len(chatBody)), 1)
}
