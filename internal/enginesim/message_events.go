package enginesim

import "encoding/json"

// messageDialect is /v1/messages.
type messageDialect struct {
	*answer
	block    messagePart // that is open; "": none
	index    int         // of the open block, or of the next one
	calls    int         // complete ones
	used     bool        // a call has begun
	finished string
	matched  string
}

// messagePart is the type of a content block.
type messagePart string

const (
	blockThinking messagePart = "thinking"
	blockText     messagePart = "text"
	blockToolUse  messagePart = "tool_use"
)

func newMessageDialect(a *answer) *messageDialect { return &messageDialect{answer: a} }

type messageUsage struct {
	InputTokens     int  `json:"input_tokens"`
	OutputTokens    int  `json:"output_tokens"`
	CacheReadTokens *int `json:"cache_read_input_tokens,omitempty"`
}

type messageWhole struct {
	ID               string        `json:"id"`
	Type             string        `json:"type"`
	Role             string        `json:"role"`
	Content          []contentPart `json:"content"`
	Model            string        `json:"model"`
	StopReason       string        `json:"stop_reason,omitempty"`
	StopSequence     string        `json:"stop_sequence,omitempty"`
	Usage            messageUsage  `json:"usage"`
	KVTransferParams *handle       `json:"kv_transfer_params,omitempty"`
}

type contentPart struct {
	Type      messagePart     `json:"type"`
	Text      *string         `json:"text,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature string          `json:"signature,omitempty"`
}

// messageUsage counts the prompt without what was cached.
func (d *messageDialect) messageUsage() messageUsage {
	u := d.usage(true)
	return messageUsage{
		InputTokens: u.PromptTokens - u.Details.CachedTokens, OutputTokens: u.CompletionTokens, CacheReadTokens: &u.Details.CachedTokens,
	}
}

// stopReason is why the message ended, and the stop sequence that ended it.
func stopReason(finish, matched string, used, complete bool) (reason, sequence string) {
	switch {
	case finish == "length":
		return "max_tokens", ""
	case finish != "stop":
		return "", ""
	case complete:
		return "tool_use", ""
	case matched != "":
		return "stop_sequence", matched
	case used:
		return "tool_use", ""
	}
	return "end_turn", ""
}

func (d *messageDialect) signature() string { return digestOf([]byte(d.id)) }

func (d *messageDialect) whole(choices []choice, h *handle) any {
	c := choices[0]
	out := messageWhole{
		ID: d.id, Type: "message", Role: roleAssistant, Content: []contentPart{}, Model: d.engine.cfg.Model, Usage: d.messageUsage(), KVTransferParams: h,
	}
	if c.reasoning != "" {
		out.Content = append(out.Content, contentPart{Type: blockThinking, Thinking: &c.reasoning, Signature: d.signature()})
	}
	if c.text != "" {
		out.Content = append(out.Content, contentPart{Type: blockText, Text: &c.text})
	}
	for _, call := range c.calls {
		out.Content = append(out.Content, contentPart{Type: blockToolUse, ID: call.ID, Name: call.Name, Input: json.RawMessage(call.Arguments)})
	}
	if len(out.Content) == 0 {
		out.Content = append(out.Content, contentPart{Type: blockText, Text: new(string)})
	}
	used := len(c.calls) > 0
	out.StopReason, out.StopSequence = stopReason(c.finish, c.matched, used, used)
	return out
}

type messageStart struct {
	Type    string `json:"type"`
	Message struct {
		ID           string        `json:"id"`
		Type         string        `json:"type"`
		Role         string        `json:"role"`
		Content      []contentPart `json:"content"`
		Model        string        `json:"model"`
		StopReason   *string       `json:"stop_reason"`
		StopSequence *string       `json:"stop_sequence"`
		Usage        messageUsage  `json:"usage"`
	} `json:"message"`
}

type blockStart struct {
	Type  string      `json:"type"`
	Block contentPart `json:"content_block"`
	Index int         `json:"index"`
}

type blockDelta struct {
	Type  string `json:"type"`
	Delta any    `json:"delta"`
	Index int    `json:"index"`
}

type blockStop struct {
	Type  string `json:"type"`
	Index int    `json:"index"`
}

type messageDelta struct {
	Type  string `json:"type"`
	Delta struct {
		StopReason   *string `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
	} `json:"delta"`
	Usage messageUsage `json:"usage"`
}

func (*messageDialect) open(*events) {}

func (d *messageDialect) write(out *events, p piece) {
	if p.first {
		d.start(out)
	}
	if p.finish != "" {
		d.finished, d.matched = p.finish, p.matched
	}
	switch p.kind {
	case partReasoning:
		d.writeText(out, blockThinking, p.text, map[string]string{"type": "thinking_delta", "thinking": p.text})
	case partText:
		d.writeText(out, blockText, p.text, map[string]string{"type": "text_delta", "text": p.text})
	case partOpening:
		d.used = true
		d.stop(out)
		d.begin(out, contentPart{Type: blockToolUse, ID: p.call.ID, Name: p.call.Name, Input: json.RawMessage("{}")})
	case partArguments:
		d.delta(out, map[string]string{"type": "input_json_delta", "partial_json": p.text})
		if p.whole {
			d.calls++
		}
	case partClosing:
	}
}

func (d *messageDialect) start(out *events) {
	e := messageStart{Type: "message_start"}
	m := &e.Message
	m.ID, m.Type, m.Role, m.Content, m.Model = d.id, "message", roleAssistant, []contentPart{}, d.engine.cfg.Model
	m.Usage = messageUsage{InputTokens: d.usageBefore().PromptTokens}
	out.named(e.Type, e)
}

// writeText goes on with a block of text, which it begins where none is open.
func (d *messageDialect) writeText(out *events, kind messagePart, text string, delta map[string]string) {
	if text == "" {
		return
	}
	if d.block != kind {
		d.stop(out)
		block := contentPart{Type: kind, Text: new(string)}
		if kind == blockThinking {
			block.Text, block.Thinking = nil, new(string)
		}
		d.begin(out, block)
	}
	d.delta(out, delta)
}

func (d *messageDialect) begin(out *events, block contentPart) {
	d.block = block.Type
	out.named("content_block_start", blockStart{Type: "content_block_start", Block: block, Index: d.index})
}

func (d *messageDialect) delta(out *events, delta map[string]string) {
	out.named("content_block_delta", blockDelta{Type: "content_block_delta", Delta: delta, Index: d.index})
}

// stop ends the open block, if there is one.
func (d *messageDialect) stop(out *events) {
	if d.block == "" {
		return
	}
	if d.block == blockThinking {
		d.delta(out, map[string]string{"type": "signature_delta", "signature": d.signature()})
	}
	out.named("content_block_stop", blockStop{Type: "content_block_stop", Index: d.index})
	d.block = ""
	d.index++
}

func (d *messageDialect) close(out *events) {
	d.stop(out)
	e := messageDelta{Type: "message_delta", Usage: d.messageUsage()}
	complete := d.used && d.calls == d.texts[0].opened
	reason, sequence := stopReason(d.finished, d.matched, d.used, complete)
	e.Delta.StopReason, e.Delta.StopSequence = orNil(reason), orNil(sequence)
	out.named(e.Type, e)
	out.named("message_stop", map[string]string{"type": "message_stop"})
}

func (d *messageDialect) fail(out *events, err *apiError) {
	out.named("error", messageError{Type: "error", Error: messageErrorInfo{Type: "internal_error", Message: err.Message}})
}
