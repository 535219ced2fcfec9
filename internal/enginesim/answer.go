package enginesim

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"
)

// answer is what the sequences of one request produce, on its way to the client.
type answer struct {
	engine  *Engine
	req     *request
	id      string
	created int64
	job     *job
	texts   []text // by choice
	states  []progress
	tokens  int // of the answer so far
}

// text is the answer of one choice so far.
type text struct {
	script   *script
	all      strings.Builder // an echoed prompt, then the tokens
	starts   []int           // in all, of the parts that have begun
	pending  []pendingToken  // not written yet
	offset   int             // characters of the tokens that were written
	taken    int             // tokens in all
	part     int             // that is being written
	opened   int             // calls whose beginning was written
	sent     int             // bytes of all that were written
	begun    bool            // its first piece is written
	cut      int             // bytes of all before the stop string
	stopped  bool
	finish   string // "": goes on
	matched  string // the stop string
	finished bool   // its last piece is written
}

type pendingToken struct {
	word string
	part int
}

// piece is what is new of one choice: of one part of it, or its end.
type piece struct {
	index     int
	first     bool // of the choice
	kind      partKind
	call      *toolCall // of opening and arguments
	callIndex int
	whole     bool // the part ends with it
	text      string
	tokens    []string
	offset    int    // characters of the choice's tokens before
	finish    string // "": goes on
	matched   string
}

func newAnswer(e *Engine, req *request, requestID string) *answer {
	if requestID == "" || req.path == pathResponses {
		requestID = strings.ReplaceAll(newUUID(), "-", "")
	}
	prefix := map[string]string{pathCompletions: "cmpl-", pathResponses: "resp_"}[req.path]
	if prefix == "" {
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
	if t.script == nil && s.script != nil {
		t.script, t.starts = s.script, []int{0}
		if a.req.Echo && !a.req.chat {
			a.echo(t, a.job.seqs[i].prompt)
		}
	}
	for t.taken < s.produced && !t.stopped {
		word, index := t.script.at(t.taken)
		if index == len(t.starts) {
			t.starts = append(t.starts, t.all.Len())
		}
		t.all.WriteString(word)
		t.pending = append(t.pending, pendingToken{word, index})
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

// echo puts the prompt before the answer; with token ids it is only in these.
func (a *answer) echo(t *text, p prompt) {
	if a.req.ReturnTokenIDs {
		return
	}
	t.all.WriteString(p.text)
	if a.req.logprobs == none {
		return
	}
	for _, word := range p.words() {
		t.pending = append(t.pending, pendingToken{word: word})
	}
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

// ready is the number of bytes of the text that may be written.
func (a *answer) ready(t *text) int {
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
	return max(end, t.sent)
}

// next is what can be written now of choice i.
func (a *answer) next(i int) []piece {
	t := &a.texts[i]
	if t.finished || t.script == nil {
		return nil
	}
	var out []piece
	end := a.ready(t)
	for more := true; more; {
		p := t.read(end)
		more = p.whole && t.part+1 < len(t.starts)
		if !more && t.finish != "" {
			p.finish, p.matched, t.finished = t.finish, t.matched, true
		}
		if p.kind == partReasoning && a.req.hidesReasoning() {
			p.text = ""
			t.take()
		}
		if shown := t.shows(&p); shown || p.finish != "" {
			if !shown && p.kind != partText {
				p.kind = partClosing
			}
			p.index, p.first, t.begun = i, !t.begun, true
			p.offset, p.tokens = t.offset, t.take()
			for _, word := range p.tokens {
				t.offset += utf8.RuneCountInString(word)
			}
			out = append(out, p)
		}
		if more {
			t.part++
		}
	}
	return out
}

// read takes what may be written of the part that is being written.
func (t *text) read(end int) piece {
	p := &t.script.parts[t.part]
	stop, followed := t.all.Len(), t.part+1 < len(t.starts)
	if followed {
		stop = t.starts[t.part+1]
	}
	to := min(end, stop)
	last, ends := p.end()
	out := piece{kind: p.kind, text: t.all.String()[t.sent:to], whole: to == stop && (followed || ends && t.taken >= last)}
	if p.kind == partOpening || p.kind == partArguments {
		out.callIndex, out.call = p.call, &t.script.calls[p.call]
	}
	t.sent = to
	return out
}

// shows reports whether the client sees anything of p.
func (t *text) shows(p *piece) bool {
	switch p.kind {
	case partOpening:
		if p.whole && p.callIndex == t.opened {
			t.opened++
			return true
		}
		return false
	case partClosing:
		return false
	default:
		return p.text != ""
	}
}

// take takes the tokens up to the end of the part that is being written.
func (t *text) take() []string {
	var words []string
	for len(t.pending) > 0 && t.pending[0].part <= t.part {
		words = append(words, t.pending[0].word)
		t.pending = t.pending[1:]
	}
	return words
}

func (a *answer) done() bool {
	for i := range a.texts {
		if a.texts[i].finish == "" {
			return false
		}
	}
	return true
}

// hidesReasoning reports whether the client wants none.
func (r *request) hidesReasoning() bool { return r.IncludeReasoning != nil && !*r.IncludeReasoning }
