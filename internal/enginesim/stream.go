package enginesim

import (
	"context"
	"errors"
	"net/http"
)

// dialect writes an answer as the clients of one API want it.
type dialect interface {
	// whole is the body of an answer that is not streamed.
	whole(choices []choice, h *handle) any
	// open comes before the first token.
	open(out *events)
	// write comes for each piece.
	write(out *events, p piece)
	// close comes after the last piece, and fail in its place where something broke.
	close(out *events)
	fail(out *events, err *apiError)
}

func (a *answer) dialect() dialect {
	switch a.req.path {
	case pathCompletions:
		return completionDialect{a}
	case pathResponses:
		return newResponseDialect(a)
	case pathMessages:
		return newMessageDialect(a)
	default:
		return chatDialect{a}
	}
}

// choice is one choice as a whole.
type choice struct {
	index      int
	reasoning  string
	text       string
	calls      []toolCall // those that are complete
	tokens     []string
	textTokens []string // of text alone
	finish     string
	matched    string
}

// collect waits for the whole answer.
func (a *answer) collect(ctx context.Context) (any, error) {
	for !a.done() {
		if err := a.await(ctx); err != nil {
			return nil, err
		}
	}
	choices := make([]choice, len(a.texts))
	for i := range choices {
		choices[i] = join(i, a.next(i))
	}
	h := a.states[0].handle
	if a.engine.currentFaults().NoHandle {
		h = nil
	}
	return a.dialect().whole(choices, h), nil
}

func join(index int, pieces []piece) choice {
	c := choice{index: index}
	for _, p := range pieces {
		c.tokens = append(c.tokens, p.tokens...)
		switch p.kind {
		case partReasoning:
			c.reasoning += p.text
		case partText:
			c.text += p.text
			c.textTokens = append(c.textTokens, p.tokens...)
		case partArguments:
			if p.whole {
				c.calls = append(c.calls, *p.call)
			}
		case partOpening, partClosing:
		}
		c.finish, c.matched = p.finish, p.matched
	}
	return c
}

// stream writes the answer as server-sent events. A slow reader gets several tokens in one event.
func (a *answer) stream(ctx context.Context, w http.ResponseWriter) {
	out := &events{w: w, flusher: http.NewResponseController(w)}
	d := a.dialect()
	out.begin()
	d.open(out)
	for !a.done() {
		err := a.await(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errEngineDead):
			panic(http.ErrAbortHandler)
		case err != nil:
			d.fail(out, internalError(err))
			_ = out.flush()
			return
		}
		for i := range a.texts {
			for _, p := range a.next(i) {
				d.write(out, p)
			}
		}
		if err := out.flush(); err != nil {
			return // the client left
		}
		if cut := a.engine.currentFaults().CutAfter; cut > 0 && a.tokens >= cut {
			panic(http.ErrAbortHandler)
		}
	}
	d.close(out)
	_ = out.flush()
}

// events writes server-sent events.
type events struct {
	w       http.ResponseWriter
	flusher *http.ResponseController
	buf     []byte
}

func (o *events) begin() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	o.w.WriteHeader(http.StatusOK)
	_ = o.flusher.Flush()
}

func (o *events) data(b []byte) {
	o.buf = append(append(append(o.buf, "data: "...), b...), "\n\n"...)
}

// named is an event with a name.
func (o *events) named(name string, v any) {
	o.buf = append(append(append(o.buf, "event: "...), name...), '\n')
	o.data(mustJSON(v))
}

func (o *events) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	if err != nil {
		return err
	}
	return o.flusher.Flush()
}

// done ends the streams of chats and completions.
func (o *events) done() { o.data([]byte("[DONE]")) }
