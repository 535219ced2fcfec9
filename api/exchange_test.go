package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/router"
)

// held is a router whose answers of one event each begin when it is told so, once for each of them.
func held() (r *fakeRouter, queued <-chan struct{}, begin chan<- struct{}) {
	in, out := make(chan struct{}), make(chan struct{})
	return &fakeRouter{do: func(ctx context.Context, _ *router.Request) (Answer, error) {
		select {
		case in <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		select {
		case <-out:
			return newScript(nil, `{"a":1}`), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}, in, out
}

// What a client sends while its request waits is the beginning of the next one.
func TestRequestsThatComeWhileOneWaits(t *testing.T) {
	r, queued, begin := held()
	h := start(t, r, oneModel, nil)
	c := h.connect(t)
	c.send(post(chatSSE))
	for range 3 {
		<-queued
		next := post(chatSSE)
		c.send(next[:1])
		begin <- struct{}{}
		c.send(next[1:])
		if resp, text := c.answer("POST"); resp.StatusCode != http.StatusOK || text != chatStream || resp.Close {
			t.Errorf("answer is %d %q, the last one: %t", resp.StatusCode, text, resp.Close)
		}
	}
	<-queued
	h.metric(t, "baton_http_connections", 1)
	_ = c.Close()
	h.counted(t, chatPath, "499")
	h.metric(t, "baton_http_connections", 0)
}

// A drain waits for requests that wait, and not for clients that have their answers and none.
func TestDrainOfConnectionsThatServedRequests(t *testing.T) {
	r, queued, begin := held()
	h := start(t, r, oneModel, nil)
	idle, waits := h.connect(t), h.connect(t)
	idle.send(post(chatSSE))
	<-queued
	begin <- struct{}{}
	if resp, text := idle.answer("POST"); resp.Close || text != chatStream {
		t.Errorf("answer is %q, the last one: %t", text, resp.Close)
	}
	waits.send(post(chatSSE))
	<-queued
	h.stop()
	if rest := idle.rest(); rest != "" {
		t.Errorf("who has its answer gets %q", rest)
	}
	select {
	case err := <-h.served:
		t.Fatalf("the server ended while a request was waiting: %v", err)
	default:
	}
	begin <- struct{}{}
	if resp, text := waits.answer("POST"); !resp.Close || text != chatStream {
		t.Errorf("answer is %q, the last one: %t", text, resp.Close)
	}
	if rest := waits.rest(); rest != "" {
		t.Errorf("after the last answer comes %q", rest)
	}
	if err := <-h.served; err != nil {
		t.Error(err)
	}
}

// Who outlasts the drain is told so, in an answer that is whole.
func TestWaitingRequestsHearThatTheServerStops(t *testing.T) {
	r, queued, _ := held()
	h := start(t, r, oneModel, func(c *Config) { c.DrainTimeout = 10 * time.Millisecond })
	c := h.connect(t)
	c.send(post(chatSSE))
	<-queued
	h.stop()
	if resp, text := c.answer("POST"); resp.StatusCode != http.StatusServiceUnavailable || !resp.Close || !strings.Contains(text, "stopping") {
		t.Errorf("answer is %d %q, the last one: %t", resp.StatusCode, text, resp.Close)
	}
	if err := <-h.served; err != nil {
		t.Error(err)
	}
}
