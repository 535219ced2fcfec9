package enginesim

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// answer writes what the sequences of one request produce.
type answer struct {
	engine  *Engine
	req     *request
	id      string
	created int64
	job     *job
	texts   []text // by choice
	states  []progress
	tokens  int // of the answer, written so far
}

// text is the answer of one choice so far.
type text struct {
	all      strings.Builder
	tokens   []string // not written yet
	offset   int      // of the first of tokens in all
	taken    int      // tokens in all
	sent     int      // bytes of all that were written
	begun    bool     // its first event is written
	cut      int      // bytes of all before the stop string
	stopped  bool
	finish   string // "": goes on
	matched  string // the stop string
	finished bool   // its last event is written
}

// piece is what one event says of one choice.
type piece struct {
	index   int
	text    string
	tokens  []string
	offset  int    // of the first token in the choice's text
	finish  string // "": goes on
	matched string
}

type usage struct {
	PromptTokens     int            `json:"prompt_tokens"`
	TotalTokens      int            `json:"total_tokens"`
	CompletionTokens int            `json:"completion_tokens"`
	Details          *promptDetails `json:"prompt_tokens_details,omitempty"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

func newAnswer(e *Engine, req *request, requestID string) *answer {
	if requestID == "" {
		requestID = strings.ReplaceAll(newUUID(), "-", "")
	}
	prefix := "cmpl-"
	if req.chat {
		prefix = "chatcmpl-"
	}
	return &answer{
		engine: e, req: req, id: prefix + requestID, created: time.Now().Unix(),
		texts: make([]text, len(req.prompts)*req.choices),
	}
}

// await returns the state of the sequences after the next change, or at once at the beginning.
func (a *answer) await(ctx context.Context) error {
	if a.states != nil {
		select {
		case <-a.job.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	a.states = a.engine.progressOf(a.job, a.states)
	for i := range a.texts {
		if err := a.advance(i); err != nil {
			return err
		}
	}
	return nil
}

// advance takes the new tokens of choice i.
func (a *answer) advance(i int) error {
	t, s := &a.texts[i], &a.states[i]
	if t.finish != "" {
		return nil
	}
	if s.ended && s.ending.err != nil {
		return s.ending.err
	}
	if t.taken == 0 && a.req.Echo && !a.req.chat && t.all.Len() == 0 {
		t.all.WriteString(a.job.seqs[i].prompt.text)
	}
	for t.taken < s.produced && !t.stopped {
		word := Token(s.digest, t.taken)
		if len(t.tokens) == 0 {
			t.offset = t.all.Len()
		}
		t.all.WriteString(word)
		t.tokens = append(t.tokens, word)
		t.taken++
		a.tokens++
		a.findStop(t, len(word))
	}
	switch {
	case t.stopped:
		t.finish = "stop"
		a.engine.stopAt(a.job.seqs[i])
	case s.ended:
		t.finish = s.ending.reason
	}
	return nil
}

// findStop looks for a stop string that ends within the last word of the text.
func (a *answer) findStop(t *text, word int) {
	if len(a.req.stops) == 0 || t.taken < int(a.req.MinTokens) {
		return
	}
	all := t.all.String()
	for _, stop := range a.req.stops {
		from := max(0, len(all)-word-len(stop)+1)
		at := strings.Index(all[from:], stop)
		if at < 0 {
			continue
		}
		cut := from + at
		if a.req.IncludeStop {
			cut += len(stop)
		}
		if !t.stopped || cut < t.cut {
			t.stopped, t.cut, t.matched = true, cut, stop
		}
	}
}

// next is the part of choice i that can be written now.
func (a *answer) next(i int) (piece, bool) {
	t := &a.texts[i]
	end := t.all.Len()
	if t.stopped {
		end = t.cut
	} else if t.finish == "" {
		hold := 0
		for _, stop := range a.req.stops {
			hold = max(hold, len(stop)-1)
		}
		end -= hold // may be the beginning of a stop string
	}
	end = max(end, t.sent)
	if t.finished || t.finish == "" && end == t.sent {
		return piece{}, false
	}
	p := piece{index: i, text: t.all.String()[t.sent:end], tokens: t.tokens, offset: t.offset, finish: t.finish, matched: t.matched}
	t.sent, t.tokens, t.finished = end, nil, t.finish != ""
	return p, true
}

func (a *answer) done() bool {
	for i := range a.texts {
		if a.texts[i].finish == "" {
			return false
		}
	}
	return true
}

// usage is what was used so far, details too at the end.
func (a *answer) usage(details bool) *usage {
	u := &usage{CompletionTokens: a.tokens}
	cached := 0
	for i, s := range a.job.seqs {
		if s.choice == 0 {
			u.PromptTokens += s.prompt.tokens
			cached += a.states[i].cached
		}
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	if details {
		u.Details = &promptDetails{CachedTokens: cached}
	}
	return u
}

// collect waits for the whole answer.
func (a *answer) collect(ctx context.Context) (any, error) {
	for !a.done() {
		if err := a.await(ctx); err != nil {
			return nil, err
		}
	}
	pieces := make([]piece, len(a.texts))
	for i := range pieces {
		pieces[i], _ = a.next(i)
	}
	h := a.states[0].handle
	if a.engine.currentFaults().NoHandle {
		h = nil
	}
	if a.req.chat {
		return a.chatWhole(pieces, h), nil
	}
	return a.completionWhole(pieces, h), nil
}

// stream writes the answer as server-sent events. A slow reader gets several tokens in one event.
func (a *answer) stream(ctx context.Context, w http.ResponseWriter) {
	out := &events{w: w, flusher: http.NewResponseController(w)}
	out.begin()
	for !a.done() {
		err := a.await(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errEngineDead):
			panic(http.ErrAbortHandler)
		case err != nil:
			out.data(internalError(err).body())
			out.end()
			return
		}
		if err := a.writePieces(out); err != nil {
			return // the client left
		}
		if cut := a.engine.currentFaults().CutAfter; cut > 0 && a.tokens >= cut {
			panic(http.ErrAbortHandler)
		}
	}
	if o := a.req.StreamOptions; o != nil && o.IncludeUsage {
		out.data(mustJSON(a.usageChunk()))
	}
	out.end()
}

// writePieces writes and flushes what is new.
func (a *answer) writePieces(out *events) error {
	for i := range a.texts {
		p, ok := a.next(i)
		if !ok {
			continue
		}
		if a.req.chat && !a.texts[i].begun {
			out.data(mustJSON(a.roleChunk(i)))
		}
		a.texts[i].begun = true
		if a.req.chat {
			out.data(mustJSON(a.chatChunk(p)))
		} else {
			out.data(mustJSON(a.completionChunk(p)))
		}
	}
	return out.flush()
}

// running is the usage in each chunk, where the request asks for it.
func (a *answer) runningUsage() *usage {
	if o := a.req.StreamOptions; o != nil && o.ContinuousUsage {
		return a.usage(false)
	}
	return nil
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

func (o *events) end() {
	o.data([]byte("[DONE]"))
	_ = o.flush()
}
