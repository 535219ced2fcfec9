package enginesim

import (
	"bytes"
	"encoding/json"
	"strings"
)

const (
	maxPrompts = 1024 // in one request

	roleUser      = "user"
	roleAssistant = "assistant"
	roleSystem    = "system"
	roleTool      = "tool"
)

type chatMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
}

// renderChat makes one plain text of the messages and tools, in place of a chat template.
func (r *request) renderChat() error {
	if len(r.Messages) == 0 {
		return badRequest("messages", "messages must have at least one message")
	}
	open := r.ContinueFinal
	switch {
	case open && (r.AddGeneration == nil || *r.AddGeneration):
		return badRequest("", "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
	case open && r.Messages[len(r.Messages)-1].Role != roleAssistant:
		return badRequest("messages", "continue_final_message needs a final message of the assistant")
	}
	text, err := renderMessages(r.Messages, r.Tools, open)
	if err != nil {
		return err
	}
	r.prompts = []prompt{textPrompt(text)}
	return nil
}

// renderMessages ends in the beginning of the answer: in none, or in the last message if that is open.
func renderMessages(messages []chatMessage, tools json.RawMessage, open bool) (string, error) {
	var b strings.Builder
	if !absent(tools) {
		b.WriteString("<|tools|>\n" + compact(tools) + "\n")
	}
	for i, m := range messages {
		if m.Role == "" {
			return "", badRequest("messages", "a message has no role")
		}
		content, err := contentText(m.Content)
		if err != nil {
			return "", err
		}
		b.WriteString("<|" + m.Role + "|>\n" + content)
		if open && i == len(messages)-1 {
			return b.String(), nil
		}
		b.WriteByte('\n')
		if !absent(m.ToolCalls) {
			b.WriteString(compact(m.ToolCalls) + "\n")
		}
	}
	b.WriteString("<|assistant|>\n")
	return b.String(), nil
}

// contentText joins the text parts of a content; other parts stand as their JSON.
func contentText(content json.RawMessage) (string, error) {
	var text string
	if absent(content) || json.Unmarshal(content, &text) == nil {
		return text, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(content, &parts); err != nil {
		return "", badRequest("messages", "content must be a string or a list of parts")
	}
	var b strings.Builder
	for _, part := range parts {
		var p struct {
			Text *string `json:"text"`
		}
		if json.Unmarshal(part, &p) == nil && p.Text != nil {
			b.WriteString(*p.Text)
		} else {
			b.WriteString(compact(part))
		}
	}
	return b.String(), nil
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// readPrompts takes a string, a list of strings, a list of token ids or a list of such lists.
func readPrompts(raw json.RawMessage) ([]prompt, error) {
	var (
		one   string
		many  []string
		ids   []int64
		lists [][]int64
		out   []prompt
	)
	switch {
	case absent(raw):
		return nil, badRequest("prompt", "prompt is missing")
	case json.Unmarshal(raw, &one) == nil:
		out = append(out, textPrompt(one))
	case json.Unmarshal(raw, &many) == nil:
		for _, text := range many {
			out = append(out, textPrompt(text))
		}
	case json.Unmarshal(raw, &ids) == nil:
		out = append(out, idPrompt(ids))
	case json.Unmarshal(raw, &lists) == nil:
		for _, ids := range lists {
			out = append(out, idPrompt(ids))
		}
	default:
		return nil, badRequest("prompt", "prompt must be a string, a list of strings, a list of token ids or a list of lists of token ids")
	}
	if len(out) > maxPrompts {
		return nil, badRequest("prompt", "%d prompts are more than the %d allowed", len(out), maxPrompts)
	}
	for _, p := range out {
		if p.tokens == 0 {
			return nil, badRequest("prompt", "The decoder prompt cannot be empty")
		}
	}
	if len(out) == 0 {
		return nil, badRequest("prompt", "prompt must not be an empty list")
	}
	return out, nil
}
