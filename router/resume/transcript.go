package resume

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/sse"
)

const maxCount = math.MaxInt32

// ErrOther is the error of a run that does not continue the answer exactly.
var ErrOther = errors.New("the rest of the answer could not be had exactly")

// Transcript is what the client has of one streamed answer. It is not safe for concurrent use.
type Transcript struct {
	terms Terms
	limit int // bytes of text
	form  form
	out   []byte // of the call of Events under way

	able        bool          // what came so far can be continued
	text        []byte        // so far, as the inside of a JSON string
	id, created rawjson.Value // of the first event; they are the whole answer's
	prompt      int           // tokens, by the first run's count
	again       bool          // the current run is not the first
	before      int           // tokens of earlier runs
	sent        int           // tokens up to the last event with text, of all runs
	counted     int           // tokens up to the last event, of all runs
	checked     bool          // the current run continues what was sent
	told        bool          // the client has the event with the counts
	last        []byte        // the event with the finish_reason; nil: not yet
	seen        int           // events of the current run
}

// New returns the transcript of an answer that has not begun, or nil where the terms do not allow to
// continue it. It keeps at most limit bytes of text: an answer with more is not continued.
func New(terms Terms, limit int) *Transcript {
	if !terms.Able || limit <= 0 {
		return nil
	}
	return &Transcript{terms: terms, limit: limit, able: true, checked: true}
}

// Able tells whether another run can continue what was sent.
func (t *Transcript) Able() bool { return t != nil && t.able && t.last == nil }

// Tokens is how many tokens another run would continue behind.
func (t *Transcript) Tokens() int { return t.sent }

// Counts are the tokens of the prompt and of the answer up to its last event.
func (t *Transcript) Counts() (prompt, completion int) { return t.prompt, t.counted }

// Next begins another run, which was asked for the rest with Body.
func (t *Transcript) Next() {
	t.again, t.before, t.counted, t.checked, t.seen = true, t.sent, t.sent, false, 0
}

// Seen is how many events the current run has sent.
func (t *Transcript) Seen() int {
	if t == nil {
		return 0
	}
	return t.seen
}

// Total corrects the counts of a run to those of the whole answer.
func (t *Transcript) Total(prompt, completion, cached int) (int, int, int) {
	if t == nil || !t.again {
		return prompt, completion, cached
	}
	return t.prompt, t.before + completion, min(cached, t.prompt)
}

// Complete tells whether the client has all of the answer but its end, and returns the block of the
// event that it lacks before that; nil: none.
func (t *Transcript) Complete() (event []byte, ok bool) {
	if t == nil || t.last == nil {
		return nil, false
	}
	if !t.terms.Usage || t.told {
		return nil, true
	}
	object, err := rawjson.Parse(t.last)
	if err != nil {
		return nil, false
	}
	t.told = true
	return sse.Append(nil, nil, object.Edit(
		rawjson.Set("id", t.id), rawjson.Set("created", t.created),
		rawjson.Set("choices", []byte("[]")), rawjson.Set("usage", t.usage(nil)),
	)), true
}

// Events takes blocks of events, which have no names, and appends what the client gets of them to dst: nothing, maybe.
// ErrOther: the run is to be given up, and what was appended is of the events before.
func (t *Transcript) Events(dst, blocks []byte) ([]byte, error) {
	t.out = dst
	err := t.events(blocks)
	dst, t.out = t.out, nil
	return dst, err
}

func (t *Transcript) events(blocks []byte) error {
	for len(blocks) > 0 {
		t.seen++
		if rest, ok := t.quick(blocks); ok {
			blocks = rest
			continue
		}
		var data []byte
		data, blocks = sse.Cut(blocks)
		out, err := t.event(data)
		if err != nil {
			return err
		}
		if out != nil {
			t.out = sse.Append(t.out, nil, out)
		}
	}
	return nil
}

// event takes the data of one event and returns what the client gets of it: nil, if nothing.
func (t *Transcript) event(data []byte) ([]byte, error) {
	object, err := rawjson.Parse(data)
	if err != nil {
		return t.unknown(data)
	}
	c, ok := t.read(object)
	if !ok {
		return t.unknown(data)
	}
	if err := t.check(&c); err != nil {
		return nil, err
	}
	t.take(data, &c)
	t.learn(data, &c)
	return t.edit(data, object, &c), nil
}

// unknown passes an event on that is not of the known form. It cannot be made to fit behind another run.
func (t *Transcript) unknown(data []byte) ([]byte, error) {
	t.lose()
	if t.again {
		return nil, ErrOther
	}
	return data, nil
}

// lose gives up continuing.
func (t *Transcript) lose() { t.able, t.text = false, nil }

// check looks at the first event of a run that continues. A chat template may have made something else of
// the text than its model had: then the prompt is not as long as it should be.
func (t *Transcript) check(c *chunk) error {
	if t.checked {
		return nil
	}
	if c.usage == nil || t.terms.Chat && c.prompt != t.prompt+t.before {
		t.lose()
		return ErrOther
	}
	t.checked = true
	return nil
}

// take notes what an event says.
func (t *Transcript) take(data []byte, c *chunk) {
	if t.id == nil {
		t.id, t.created = bytes.Clone(c.id), bytes.Clone(c.created)
	}
	if c.usage != nil {
		t.counted = t.before + c.completion
		if !t.again {
			t.prompt = c.prompt
		}
	}
	switch {
	case c.empty:
		t.told = true
		return
	case !c.plain, c.usage == nil && len(c.text) > 0:
		t.lose()
	case len(t.text)+len(c.text) > t.limit:
		t.lose()
	case len(c.text) > 0 && t.able:
		t.text = append(t.text, c.text...)
		t.sent = t.counted
	}
	if c.finished {
		t.last = bytes.Clone(data)
	}
}

// edit makes the client's event of the engine's.
func (t *Transcript) edit(data []byte, object *rawjson.Object, c *chunk) []byte {
	if c.empty && !t.terms.Usage {
		return nil
	}
	var edits []rawjson.Edit
	switch {
	case c.usage == nil:
	case !c.empty && !t.terms.Running:
		edits = append(edits, rawjson.Delete("usage"))
	case t.again:
		edits = append(edits, rawjson.Set("usage", t.usage(c.usage)))
	}
	if t.again {
		if c.role && len(c.text) == 0 && !c.finished {
			return nil // the client has had it
		}
		edits = append(edits, rawjson.Set("id", t.id), rawjson.Set("created", t.created))
		if c.role {
			edits = append(edits, rawjson.Set("choices", c.withoutRole()))
		}
	}
	if len(edits) == 0 {
		return data
	}
	return object.Edit(edits...)
}

// usage is the counts so far in the form of those of one run; nil: in the usual one.
func (t *Transcript) usage(of *rawjson.Object) []byte {
	if of == nil {
		of, _ = rawjson.Parse([]byte(`{"prompt_tokens":0,"total_tokens":0,"completion_tokens":0}`))
	}
	number := func(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
	edits := []rawjson.Edit{
		rawjson.Set("prompt_tokens", number(t.prompt)), rawjson.Set("completion_tokens", number(t.counted)),
		rawjson.Set("total_tokens", number(t.prompt+t.counted)),
	}
	v, _ := of.Get("prompt_tokens_details")
	if details, err := v.Object(); err == nil && count(details, "cached_tokens") > t.prompt {
		edits = append(edits, rawjson.Set("prompt_tokens_details", details.Edit(rawjson.Set("cached_tokens", number(t.prompt)))))
	}
	return of.Edit(edits...)
}
