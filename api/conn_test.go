package api

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/baton-llm/baton/router"
)

// direct is an Answer whose events beyond the first are written by the test.
type direct struct {
	*script

	write chan router.Writer
	waits chan struct{} // each wait for more of it
	next  chan []byte
}

func (d *direct) Direct(write router.Writer) { d.write <- write }

func (d *direct) Next(ctx context.Context) ([]byte, error) {
	if len(d.payloads) > 0 {
		return d.script.Next(ctx)
	}
	d.waits <- struct{}{}
	if p, more := <-d.next; more {
		return p, nil
	}
	return d.script.Next(ctx)
}

// Events that others write while the handler waits reach the client whole and in order, and nobody waits for a client
// that does not read.
func TestEventsAreWrittenByWhoeverBringsThem(t *testing.T) {
	for name, few := range map[string]int32{"in net/http": few, "without it": 0} {
		t.Run(name, func(t *testing.T) { testWriting(t, few) })
	}
}

func testWriting(t *testing.T, few int32) {
	t.Helper()
	d := &direct{script: newScript(nil, "data: 0\n\n"), write: make(chan router.Writer, 1), waits: make(chan struct{}), next: make(chan []byte)}
	h := start(t, &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return d, nil }}, oneModel, nil)
	h.server.few = few
	c := h.connect(t)
	c.send(post(chatSSE))
	write := <-d.write
	<-d.waits
	n := 1
	if took, sent := write([]byte("data: 1\n\n")); !took || !sent {
		t.Fatalf("with room: took %v, sent %v", took, sent)
	}
	large := strings.Repeat("x", 64<<10)
	for sent := true; sent; n++ { // until nothing more fits
		if n > 1000 {
			t.Fatal("64 MB fit into a connection that nobody reads")
		}
		var took bool
		if took, sent = write(fmt.Appendf(nil, "data: %d%s\n\n", n+1, large)); !took {
			t.Fatal("an event was not taken although nothing was before it")
		}
	}
	if took, _ := write([]byte("early")); took {
		t.Error("an event was taken although another is not sent yet")
	}
	d.next <- nil // the handler waits for the client
	go func() {
		<-d.waits
		n++
		if took, sent := write(fmt.Appendf(nil, "data: %d\n\n", n)); !took || !sent {
			t.Errorf("once the client has read: took %v, sent %v", took, sent)
		}
		close(d.next)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	events := strings.Split(readAll(t, resp), "\n\n")
	if len(events) < 2 || events[len(events)-2] != "data: [DONE]" {
		t.Fatalf("the stream ends with %.40q", events[len(events)-1])
	}
	for i, event := range events[:len(events)-2] {
		want := fmt.Sprintf("data: %d", i)
		if i >= 2 && i < len(events)-3 {
			want += large
		}
		if event != want {
			t.Fatalf("event %d is %.40q of %d bytes, want %.40q of %d", i, event, len(event), want, len(want))
		}
	}
	if len(events)-2 != n+1 {
		t.Errorf("%d events came, want %d", len(events)-2, n+1)
	}
}

// whole is an Answer whose events are there with its end.
type whole struct{ *script }

func (whole) More() bool { return true }

// A stream is in chunks also where all of it is there at once, and the connection serves the next request.
func TestStreamsThatAreThereAtOnceAreStreams(t *testing.T) {
	for _, few := range []int32{few, 0} { // within net/http, and without it
		h := start(t, &fakeRouter{do: func(_ context.Context, req *router.Request) (Answer, error) {
			s := newScript(nil, "1", "2")
			s.asked(req)
			return whole{s}, nil
		}}, oneModel, nil)
		h.server.few = few
		c := h.connect(t)
		for range 2 {
			c.send(post(chatSSE))
			resp, text := c.answer(http.MethodPost)
			if want := "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"; text != want || resp.ContentLength >= 0 || len(resp.TransferEncoding) != 1 {
				t.Errorf("at most %d in net/http: %q of length %d, coded %q, want %q in chunks", few, text, resp.ContentLength, resp.TransferEncoding, want)
			}
		}
	}
}
