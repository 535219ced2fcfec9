package enginesim

import (
	"encoding/json"
	"net/http"
	"slices"
)

// responseRequest is the body of /v1/responses: what the engine looks at, and what its answer
// repeats.
type responseRequest struct {
	Model              string          `json:"model"`
	Input              json.RawMessage `json:"input"`
	Instructions       *string         `json:"instructions"`
	MaxOutputTokens    *integer        `json:"max_output_tokens"`
	Tools              json.RawMessage `json:"tools"`
	ToolChoice         json.RawMessage `json:"tool_choice"`
	ParallelToolCalls  *bool           `json:"parallel_tool_calls"`
	PreviousResponseID *string         `json:"previous_response_id"`
	Prompt             json.RawMessage `json:"prompt"`
	Background         bool            `json:"background"`
	Store              *bool           `json:"store"`
	Stream             bool            `json:"stream"`
	Include            []string        `json:"include"`
	Temperature        *float64        `json:"temperature"`
	TopP               *float64        `json:"top_p"`
	TopLogprobs        json.RawMessage `json:"top_logprobs"`
	Text               *responseText   `json:"text"`
	StructuredOutputs  json.RawMessage `json:"structured_outputs"`
	IncludeReasoning   *bool           `json:"include_reasoning"`
	Metadata           json.RawMessage `json:"metadata"`
	Reasoning          json.RawMessage `json:"reasoning"`
	User               *string         `json:"user"`
	Seed               seed            `json:"seed"`
	Stop               json.RawMessage `json:"stop"`
	IgnoreEOS          bool            `json:"ignore_eos"`
	KV                 *transferParams `json:"kv_transfer_params"`
}

type responseText struct {
	raw    json.RawMessage
	format struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
}

func (t *responseText) UnmarshalJSON(b []byte) error {
	t.raw = slices.Clone(b)
	var in struct {
		Format json.RawMessage `json:"format"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if absent(in.Format) {
		return nil
	}
	return json.Unmarshal(in.Format, &t.format)
}

const includeLogprobs = "message.output_text.logprobs"

// readResponses reads the body of /v1/responses as the chat that it is.
func (r *request) readResponses(body []byte) error {
	in := &responseRequest{}
	if err := unmarshal("", body, in); err != nil {
		return err
	}
	if !absent(in.Prompt) {
		return badRequest("prompt", "prompt template is not supported")
	}
	if absent(in.Input) {
		return invalid("body.input", "input: Field required")
	}
	r.response, r.Model, r.Stream, r.Stop, r.IgnoreEOS, r.KV = in, in.Model, in.Stream, in.Stop, in.IgnoreEOS, in.KV
	r.MaxTokens, r.Temperature, r.TopP = in.MaxOutputTokens, in.Temperature, in.TopP
	r.ParallelToolCalls, r.IncludeReasoning, r.StructuredOutputs = in.ParallelToolCalls, in.IncludeReasoning, in.StructuredOutputs
	if slices.Contains(in.Include, includeLogprobs) {
		r.Logprobs, r.TopLogprobs = json.RawMessage("true"), in.TopLogprobs
	}
	if in.Instructions != nil {
		r.Messages = append(r.Messages, chatMessage{Role: roleSystem, Content: mustJSON(*in.Instructions)})
	}
	if err := r.readInput(in.Input); err != nil {
		return err
	}
	if err := r.readTextFormat(in.Text); err != nil {
		return err
	}
	return r.readResponseTools(in)
}

// readInput makes messages of a text or a list of items.
func (r *request) readInput(raw json.RawMessage) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		r.Messages = append(r.Messages, chatMessage{Role: roleUser, Content: raw})
		return nil
	}
	var items []struct {
		Type      string          `json:"type"`
		Role      string          `json:"role"`
		Content   json.RawMessage `json:"content"`
		CallID    string          `json:"call_id"`
		Name      string          `json:"name"`
		Arguments string          `json:"arguments"`
		Output    json.RawMessage `json:"output"`
	}
	if err := unmarshal("body.input", raw, &items); err != nil {
		return err
	}
	for _, item := range items {
		switch {
		case item.Type == "function_call":
			r.addCall(item.CallID, item.Name, item.Arguments)
		case item.Type == "function_call_output":
			r.Messages = append(r.Messages, chatMessage{Role: roleTool, Content: item.Output})
		case item.Type == "reasoning": // is no part of the next prompt
		case (item.Type == "" || item.Type == "message") && item.Role != "":
			r.Messages = append(r.Messages, chatMessage{Role: item.Role, Content: item.Content})
		default:
			return invalid("body.input", "input: an item of type %q is none that is known", item.Type)
		}
	}
	return nil
}

// addCall adds a call to the assistant's message, or begins one.
func (r *request) addCall(id, name, arguments string) {
	call := chatToolCall{ID: id, Type: "function", Function: chatFunction{Name: name, Arguments: arguments}}
	last := len(r.Messages) - 1
	if last < 0 || r.Messages[last].Role != roleAssistant {
		r.Messages = append(r.Messages, chatMessage{Role: roleAssistant})
		last++
	}
	var calls []chatToolCall
	if m := &r.Messages[last]; absent(m.ToolCalls) || json.Unmarshal(m.ToolCalls, &calls) == nil {
		m.ToolCalls = mustJSON(append(calls, call))
	}
}

func (r *request) readTextFormat(text *responseText) error {
	if text == nil || text.format.Type == "" || text.format.Type == "text" {
		return nil
	}
	if !absent(r.StructuredOutputs) {
		return badRequest("structured_outputs", "Cannot specify both structured_outputs and text.format")
	}
	switch text.format.Type {
	case "json_object":
		r.form.text = jsonObject
		return nil
	case "json_schema":
		if absent(text.format.Schema) {
			return invalid("body.text.format.schema", "text.format.schema: Field required")
		}
		return r.answerSchema("text.format", text.format.Schema)
	}
	return invalid("body.text.format", "text.format.type: Input should be 'text', 'json_object' or 'json_schema'")
}

// readResponseTools takes tools and tool_choice in the form of responses. Tools that are no
// functions are never called.
func (r *request) readResponseTools(in *responseRequest) error {
	r.Tools = in.Tools
	var tools []struct {
		Type       string          `json:"type"`
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	}
	if !absent(in.Tools) {
		if err := unmarshal("tools", in.Tools, &tools); err != nil {
			return err
		}
	}
	if len(tools) == 0 {
		r.Tools = nil
	}
	var functions []function
	for _, tool := range tools {
		if tool.Type != "function" {
			continue
		}
		f, err := newFunction(tool.Name, tool.Parameters)
		if err != nil {
			return err
		}
		functions = append(functions, f)
	}
	choice, err := readResponseChoice(in.ToolChoice, functions)
	if err != nil {
		return err
	}
	return r.decideCalls(functions, choice)
}

func readResponseChoice(raw json.RawMessage, functions []function) (toolChoice, error) {
	var mode string
	var named struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	switch {
	case absent(raw):
		return toolChoice{mode: choiceAuto}, nil
	case json.Unmarshal(raw, &mode) == nil:
		if mode == choiceRequired && len(functions) == 0 {
			return toolChoice{}, badRequest("tool_choice", "Tool choice 'required' must be specified with 'tools' parameter.")
		}
		if slices.Contains([]string{choiceAuto, choiceNone, choiceRequired}, mode) {
			return toolChoice{mode: mode}, nil
		}
	case json.Unmarshal(raw, &named) == nil && named.Type == "function":
		if !slices.ContainsFunc(functions, func(f function) bool { return f.name == named.Name }) {
			return toolChoice{}, badRequest("tool_choice", "Tool choice 'function' not found in 'tools' parameter.")
		}
		return toolChoice{mode: choiceNamed, name: named.Name}, nil
	}
	return toolChoice{}, invalid("body.tool_choice", "tool_choice: %s is none that is known", raw)
}

// refused is what an engine that stores nothing says of the request.
func (in *responseRequest) refused() *apiError {
	const kind = "invalid_request_error"
	if in.Background && (in.Store == nil || *in.Store) {
		return &apiError{
			Status: http.StatusBadRequest, Type: kind, Param: "background",
			Message: "This vLLM engine does not support `store=True` and therefore does not support the background mode. " +
				"To enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.",
		}
	}
	if in.PreviousResponseID != nil {
		return unknownResponse(*in.PreviousResponseID)
	}
	return nil
}

func unknownResponse(id string) *apiError {
	return notFound("invalid_request_error", "response_id", "Response with id '%s' not found.", id)
}

// storedResponse serves what is asked of a response later, when it is gone.
func storedResponse(w http.ResponseWriter, r *http.Request) {
	writeError(w, unknownResponse(r.PathValue("id")))
}
