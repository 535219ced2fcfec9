package router_test

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// While a reader waits, whoever brings a piece has it written; what is not taken, or not sent whole, is the reader's.
func TestPiecesAreWrittenByWhoeverBringsThem(t *testing.T) {
	bubble(t, router.DefaultConfig(), func(t *testing.T, h *rig) {
		out := h.do(t.Context(), request())
		d := h.run("d1", 1, h.job()).send(wire.Decoding, "").send(wire.Data, "a")
		res := h.now(out)
		if res.err != nil {
			t.Fatal(res.err)
		}
		defer res.answer.Close()
		var written []string
		took, sent := true, true
		res.answer.Direct(func(p []byte) (bool, bool) {
			written = append(written, string(p))
			return took, sent
		})
		type next struct {
			text string
			err  error
		}
		read := func() <-chan next {
			got := make(chan next, 1)
			go func() {
				p, err := res.answer.Next(t.Context())
				got <- next{string(p), err}
			}()
			synctest.Wait()
			return got
		}
		d.send(wire.Data, "b") // nobody waits
		for _, want := range []string{"a", "b"} {
			if got := <-read(); got.text != want || got.err != nil {
				t.Fatalf("the reader got %q, %v, want %q", got.text, got.err, want)
			}
		}

		waiting := read()
		d.send(wire.Data, "c")
		synctest.Wait()
		if len(waiting) != 0 || h.recv.consumed[d.id] != 3 {
			t.Errorf("a written piece woke the reader, or only frames up to %d are consumed", h.recv.consumed[d.id])
		}
		took, sent = true, false // the client's connection is full
		d.send(wire.Data, "d")
		if got := <-waiting; got.text != "" || got.err != nil {
			t.Errorf("in place of a piece that is not sent yet the reader got %q, %v", got.text, got.err)
		}
		waiting = read()
		if h.recv.consumed[d.id] != 4 {
			t.Error("a piece is not consumed although its reader came back for the next")
		}
		took, sent = false, false
		d.send(wire.Data, "e")
		if got := <-waiting; got.text != "e" {
			t.Errorf("a piece that was not taken came as %q, %v", got.text, got.err)
		}
		d.send(wire.End, "{}")
		if got := <-read(); !errors.Is(got.err, io.EOF) {
			t.Errorf("the end came as %q, %v", got.text, got.err)
		}
		if want := []string{"c", "d", "e"}; !slices.Equal(written, want) {
			t.Errorf("offered to the writer: %q, want %q", written, want)
		}
	})
}
