package enginesim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// messageRequest is the body of /v1/messages, as far as the engine looks at it.
type messageRequest struct {
	Model         string          `json:"model"`
	MaxTokens     *integer        `json:"max_tokens"`
	System        json.RawMessage `json:"system"`
	Messages      []chatMessage   `json:"messages"`
	StopSequences json.RawMessage `json:"stop_sequences"`
	Stream        bool            `json:"stream"`
	Temperature   *float64        `json:"temperature"`
	TopP          *float64        `json:"top_p"`
	Tools         json.RawMessage `json:"tools"`
	ToolChoice    *struct {
		Type            string `json:"type"`
		Name            string `json:"name"`
		DisableParallel bool   `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
	OutputConfig struct {
		Format *struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
	KV *transferParams `json:"kv_transfer_params"`
}

// messageBlock is one of a message's content.
type messageBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
}

// readMessages reads the body of /v1/messages as the chat that vLLM makes of it.
func (r *request) readMessages(body []byte) error {
	var in messageRequest
	if err := unmarshal("", body, &in); err != nil {
		return err
	}
	switch {
	case in.MaxTokens == nil:
		return invalid("body.max_tokens", "max_tokens: Field required")
	case *in.MaxTokens < 1:
		return invalid("body.max_tokens", "max_tokens: Value error, max_tokens must be positive")
	}
	r.MaxTokens, r.Stream, r.Temperature, r.TopP, r.KV = in.MaxTokens, in.Stream, in.Temperature, in.TopP, in.KV
	r.Stop = in.StopSequences
	if err := r.readMessagePrompt(&in); err != nil {
		return err
	}
	if f := in.OutputConfig.Format; f != nil && !absent(f.Schema) {
		if err := r.answerSchema("output_config", f.Schema); err != nil {
			return err
		}
	}
	return r.readMessageTools(&in)
}

// readMessagePrompt reads what is part of the prompt.
func (r *request) readMessagePrompt(in *messageRequest) error {
	if in.Model == "" {
		return invalid("body.model", "model: Value error, Model is required")
	}
	r.Model, r.Tools = in.Model, in.Tools
	if !absent(in.System) {
		text, err := contentText(in.System)
		if err != nil {
			return err
		}
		r.Messages = append(r.Messages, chatMessage{Role: roleSystem, Content: mustJSON(text)})
	}
	for _, m := range in.Messages {
		if !slices.Contains([]string{roleUser, roleAssistant, roleSystem}, m.Role) {
			return invalid("body.messages", "messages.role: Input should be 'user', 'assistant' or 'system'")
		}
		if err := r.addMessage(m); err != nil {
			return err
		}
	}
	return nil
}

// addMessage adds a message, whose tool results become messages of their own.
func (r *request) addMessage(m chatMessage) error {
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		r.Messages = append(r.Messages, m)
		return nil
	}
	var raws []json.RawMessage
	if err := unmarshal("body.messages", m.Content, &raws); err != nil {
		return err
	}
	out := chatMessage{Role: m.Role}
	var parts []json.RawMessage
	var calls []chatToolCall
	for _, raw := range raws {
		var b messageBlock
		if err := unmarshal("body.messages", raw, &b); err != nil {
			return err
		}
		switch b.Type {
		case "tool_use":
			calls = append(calls, chatToolCall{ID: b.ID, Type: "function", Function: chatFunction{Name: b.Name, Arguments: compact(b.Input)}})
		case "tool_result":
			result, err := contentText(b.Content)
			if err != nil {
				return err
			}
			r.Messages = append(r.Messages, chatMessage{Role: roleTool, Content: mustJSON(result)})
		case "thinking", "redacted_thinking": // are no part of the next prompt
		case "text", "image":
			parts = append(parts, raw)
		default:
			return invalid("body.messages", "messages.content.type: Input should be 'text', 'image', 'tool_use', 'tool_result', 'thinking' or 'redacted_thinking'")
		}
	}
	if len(calls) > 0 {
		out.ToolCalls = mustJSON(calls)
	}
	if len(parts) > 0 {
		out.Content = mustJSON(parts)
	}
	if len(parts)+len(calls) > 0 {
		r.Messages = append(r.Messages, out)
	}
	return nil
}

// readMessageTools takes tools and tool_choice in the form of messages.
func (r *request) readMessageTools(in *messageRequest) error {
	var tools []struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"input_schema"`
	}
	if !absent(in.Tools) {
		if err := unmarshal("body.tools", in.Tools, &tools); err != nil {
			return err
		}
	}
	var functions []function
	for _, tool := range tools {
		if absent(tool.Schema) {
			return invalid("body.tools", "tools.input_schema: Field required")
		}
		f, err := newFunction(tool.Name, tool.Schema)
		if err != nil {
			return err
		}
		functions = append(functions, f)
	}
	choice := toolChoice{mode: choiceAuto}
	if c := in.ToolChoice; c != nil {
		mode, ok := map[string]string{"auto": choiceAuto, "any": choiceRequired, "tool": choiceNamed, "none": choiceNone}[c.Type]
		if !ok {
			return invalid("body.tool_choice", "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
		}
		if mode == choiceNamed && !slices.ContainsFunc(functions, func(f function) bool { return f.name == c.Name }) {
			return badRequest("", "Tool '%s' has not been passed in `tools`.", c.Name)
		}
		choice = toolChoice{mode: mode, name: c.Name}
		r.ParallelToolCalls = new(!c.DisableParallel)
	}
	return r.decideCalls(functions, choice)
}

// countTokens serves /v1/messages/count_tokens.
func (e *Engine) countTokens(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	var in messageRequest
	req := &request{}
	err := unmarshal("", body, &in)
	if err == nil {
		err = req.readMessagePrompt(&in)
	}
	if err == nil {
		err = req.renderChat()
	}
	if known := e.knows(in.Model); err == nil && known != nil {
		err = known
	}
	if err != nil {
		writeErrorAt(w, pathMessages, internalError(err))
		return
	}
	n := req.prompts[0].tokens
	writeJSON(w, map[string]any{"input_tokens": n, "context_management": map[string]int{"original_input_tokens": n}})
}

// writeErrorAt writes an error in the form of the API that the path is of.
func writeErrorAt(w http.ResponseWriter, path string, e *apiError) {
	if !strings.HasPrefix(path, pathMessages) || e.Type == http.StatusText(http.StatusBadRequest) {
		writeError(w, e)
		return
	}
	writeStatus(w, e.Status, mustJSON(messageError{Type: "error", Error: messageErrorInfo{Type: e.Type, Message: e.Message}}))
}

type messageError struct {
	Type  string           `json:"type"`
	Error messageErrorInfo `json:"error"`
}

type messageErrorInfo struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}
