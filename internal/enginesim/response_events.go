package enginesim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// responseDialect is /v1/responses.
type responseDialect struct {
	*answer
	sequence int   // of the next event
	output   []any // items that are done
	item     *openItem
	finished string // why the answer ended
}

// openItem is an item of the output that is being streamed.
type openItem struct {
	id       string
	kind     partKind // reasoning, text or arguments
	call     *toolCall
	text     strings.Builder
	logprobs []topLogprob
}

func newResponseDialect(a *answer) *responseDialect {
	return &responseDialect{answer: a, output: []any{}}
}

type responseObject struct {
	ID                 string             `json:"id"`
	CreatedAt          int64              `json:"created_at"`
	IncompleteDetails  *incompleteDetails `json:"incomplete_details"`
	Instructions       *string            `json:"instructions"`
	Metadata           json.RawMessage    `json:"metadata"`
	Model              string             `json:"model"`
	Object             string             `json:"object"`
	Output             []any              `json:"output"`
	ParallelToolCalls  bool               `json:"parallel_tool_calls"`
	Temperature        float64            `json:"temperature"`
	ToolChoice         json.RawMessage    `json:"tool_choice"`
	Tools              json.RawMessage    `json:"tools"`
	TopP               float64            `json:"top_p"`
	Background         bool               `json:"background"`
	MaxOutputTokens    int                `json:"max_output_tokens"`
	PreviousResponseID *string            `json:"previous_response_id"`
	Reasoning          json.RawMessage    `json:"reasoning"`
	ServiceTier        string             `json:"service_tier"`
	Status             string             `json:"status"`
	Text               json.RawMessage    `json:"text"`
	TopLogprobs        *int               `json:"top_logprobs"`
	Truncation         string             `json:"truncation"`
	Usage              *responseUsage     `json:"usage"`
	User               *string            `json:"user"`
	KVTransferParams   *handle            `json:"kv_transfer_params"`
}

type incompleteDetails struct {
	Reason string `json:"reason"`
}

type responseUsage struct {
	InputTokens   int `json:"input_tokens"`
	InputDetails  any `json:"input_tokens_details"`
	OutputTokens  int `json:"output_tokens"`
	OutputDetails any `json:"output_tokens_details"`
	TotalTokens   int `json:"total_tokens"`
}

type responseMessage struct {
	ID      string       `json:"id"`
	Content []outputText `json:"content"`
	Role    string       `json:"role"`
	Status  string       `json:"status"`
	Type    string       `json:"type"`
}

type outputText struct {
	Annotations []any        `json:"annotations"`
	Text        string       `json:"text"`
	Type        string       `json:"type"`
	Logprobs    []topLogprob `json:"logprobs"`
}

type responseCall struct {
	Arguments string `json:"arguments"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	ID        string `json:"id"`
	Status    string `json:"status"`
}

type responseReasoning struct {
	ID      string          `json:"id"`
	Summary []any           `json:"summary"`
	Type    string          `json:"type"`
	Content []reasoningText `json:"content"`
	Status  string          `json:"status"`
}

type reasoningText struct {
	Text string `json:"text"`
	Type string `json:"type"`
}

const (
	itemRunning = "in_progress"
	itemDone    = "completed"
)

// object is the response as it is now.
func (d *responseDialect) object(status string, output []any) responseObject {
	in := d.req.response
	o := responseObject{
		ID: d.id, CreatedAt: d.created, Instructions: in.Instructions, Metadata: in.Metadata, Model: d.engine.cfg.Model, Object: "response",
		Output: output, ParallelToolCalls: in.ParallelToolCalls == nil || *in.ParallelToolCalls, Temperature: 1, TopP: 1,
		ToolChoice: in.ToolChoice, Tools: d.req.Tools, Background: in.Background, MaxOutputTokens: d.job.seqs[0].params.maxTokens,
		Reasoning: in.Reasoning, ServiceTier: "auto", Status: status, Truncation: "disabled", User: in.User,
	}
	if in.Temperature != nil {
		o.Temperature = *in.Temperature
	}
	if in.TopP != nil {
		o.TopP = *in.TopP
	}
	if absent(o.Tools) {
		o.Tools, o.ToolChoice = json.RawMessage("[]"), mustJSON(choiceNone)
	} else if absent(o.ToolChoice) {
		o.ToolChoice = mustJSON(choiceAuto)
	}
	if in.Text != nil {
		o.Text = in.Text.raw
	}
	if d.req.logprobs != none {
		o.TopLogprobs = &d.req.logprobs
	}
	return o
}

// ended is the response after the last token.
func (d *responseDialect) ended(finish string, output []any) responseObject {
	status := "completed"
	if finish == "length" {
		status = "incomplete"
	}
	o := d.object(status, output)
	if finish == "length" {
		o.IncompleteDetails = &incompleteDetails{Reason: "max_output_tokens"}
	}
	u := d.usage(true)
	o.Usage = &responseUsage{
		InputTokens: u.PromptTokens, OutputTokens: u.CompletionTokens, TotalTokens: u.TotalTokens,
		InputDetails: map[string]any{
			"cached_tokens": u.Details.CachedTokens, "cache_write_tokens": 0, "input_tokens_per_turn": []int{}, "cached_tokens_per_turn": []int{},
		},
		OutputDetails: map[string]any{
			"reasoning_tokens": d.reasoningTokens(), "tool_output_tokens": 0, "output_tokens_per_turn": []int{}, "tool_output_tokens_per_turn": []int{},
		},
	}
	return o
}

func (d *responseDialect) whole(choices []choice, h *handle) any {
	c := choices[0]
	if c.reasoning != "" {
		d.output = append(d.output, reasoningItem(d.newID("rs"), itemDone, c.reasoning))
	}
	if c.text != "" {
		part := textPart(c.text)
		if d.req.logprobs != none {
			part.Logprobs = d.topLogprobs(c.textTokens)
		}
		d.output = append(d.output, messageItem(d.newID("msg"), itemDone, part))
	}
	for _, call := range c.calls {
		d.output = append(d.output, callItem(d.newID("fc"), itemDone, &call, call.Arguments))
	}
	o := d.ended(c.finish, d.output)
	o.KVTransferParams = h
	return o
}

func (d *responseDialect) newID(prefix string) string {
	return prefix + "_" + digestOf([]byte(d.id+"/"+strconv.Itoa(len(d.output))))
}

func messageItem(id, status string, parts ...outputText) responseMessage {
	return responseMessage{ID: id, Content: append([]outputText{}, parts...), Role: roleAssistant, Status: status, Type: "message"}
}

func textPart(text string) outputText {
	return outputText{Annotations: []any{}, Text: text, Type: "output_text"}
}

func callItem(id, status string, call *toolCall, arguments string) responseCall {
	return responseCall{Arguments: arguments, CallID: call.ID, Name: call.Name, Type: "function_call", ID: id, Status: status}
}

func reasoningItem(id, status, text string) responseReasoning {
	item := responseReasoning{ID: id, Summary: []any{}, Type: "reasoning", Status: status}
	if text != "" {
		item.Content = []reasoningText{{Text: text, Type: "reasoning_text"}}
	}
	return item
}

// event is one of the stream: members, with its type and number.
func (d *responseDialect) event(out *events, name string, members map[string]any) {
	members["type"], members["sequence_number"] = name, d.sequence
	d.sequence++
	out.named(name, members)
}

// itemEvent is one of the item that is open.
func (d *responseDialect) itemEvent(out *events, name string, members map[string]any) {
	members["output_index"], members["item_id"] = len(d.output), d.item.id
	if d.item.kind != partArguments {
		members["content_index"] = 0
	}
	d.event(out, name, members)
}

func (d *responseDialect) open(out *events) {
	initial := d.object(itemRunning, []any{})
	d.event(out, "response.created", map[string]any{"response": initial})
	d.event(out, "response.in_progress", map[string]any{"response": initial})
	_ = out.flush()
}

func (d *responseDialect) write(out *events, p piece) {
	d.finished = cmp.Or(p.finish, d.finished)
	switch p.kind {
	case partReasoning, partText:
		if p.text == "" {
			return
		}
		d.begin(out, p.kind, nil)
		d.writeText(out, p)
	case partOpening:
		d.closeItem(out)
		d.begin(out, partArguments, p.call)
	case partArguments:
		d.item.text.WriteString(p.text)
		d.itemEvent(out, "response.function_call_arguments.delta", map[string]any{"delta": p.text})
	case partClosing:
	}
}

func (d *responseDialect) writeText(out *events, p piece) {
	d.item.text.WriteString(p.text)
	if p.kind == partReasoning {
		d.itemEvent(out, "response.reasoning_text.delta", map[string]any{"delta": p.text})
		return
	}
	logprobs := []topLogprob{}
	if d.req.logprobs != none {
		logprobs = d.topLogprobs(p.tokens)
		d.item.logprobs = append(d.item.logprobs, logprobs...)
	}
	d.itemEvent(out, "response.output_text.delta", map[string]any{"delta": p.text, "logprobs": logprobs})
}

// begin opens an item, unless it is open.
func (d *responseDialect) begin(out *events, kind partKind, call *toolCall) {
	if d.item != nil && d.item.kind == kind {
		return
	}
	d.closeItem(out)
	d.item = &openItem{kind: kind, call: call}
	added := func(item any) {
		d.event(out, "response.output_item.added", map[string]any{"output_index": len(d.output), "item": item})
	}
	switch kind {
	case partReasoning:
		d.item.id = d.newID("rs")
		added(reasoningItem(d.item.id, itemRunning, ""))
		d.itemEvent(out, "response.content_part.added", map[string]any{"part": reasoningText{Type: "reasoning_text"}})
	case partText:
		d.item.id = d.newID("msg")
		added(messageItem(d.item.id, itemRunning))
		part := textPart("")
		part.Logprobs = []topLogprob{}
		d.itemEvent(out, "response.content_part.added", map[string]any{"part": part})
	default:
		d.item.id = d.newID("fc")
		added(callItem(d.item.id, itemRunning, call, ""))
	}
}

// closeItem ends the item that is open, if there is one.
func (d *responseDialect) closeItem(out *events) {
	if d.item == nil {
		return
	}
	var done any
	switch text := d.item.text.String(); d.item.kind {
	case partReasoning:
		d.itemEvent(out, "response.reasoning_text.done", map[string]any{"text": text})
		d.itemEvent(out, "response.content_part.done", map[string]any{"part": reasoningText{Text: text, Type: "reasoning_text"}})
		done = reasoningItem(d.item.id, itemDone, text)
	case partText:
		part := textPart(text)
		part.Logprobs = d.item.logprobs
		d.itemEvent(out, "response.output_text.done", map[string]any{"text": text, "logprobs": []topLogprob{}})
		d.itemEvent(out, "response.content_part.done", map[string]any{"part": part})
		done = messageItem(d.item.id, itemDone, part)
	default:
		d.itemEvent(out, "response.function_call_arguments.done", map[string]any{"arguments": text, "name": d.item.call.Name})
		done = callItem(d.item.id, itemDone, d.item.call, text)
	}
	d.event(out, "response.output_item.done", map[string]any{"output_index": len(d.output), "item": done})
	d.output, d.item = append(d.output, done), nil
}

// close completes the response, with this event even where max_output_tokens cut it.
func (d *responseDialect) close(out *events) {
	d.closeItem(out)
	d.event(out, "response.completed", map[string]any{"response": d.ended(d.finished, d.output)})
}

// fail drops the connection: vLLM's stream has no event for an error of the engine.
func (d *responseDialect) fail(*events, *apiError) { panic(http.ErrAbortHandler) }
