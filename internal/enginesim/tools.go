package enginesim

import (
	"encoding/json"
	"regexp"
	"slices"
)

// function is one that a client offers to be called.
type function struct {
	name       string
	parameters *schemaRoot
}

// emptyParameters are those of a function without any.
const emptyParameters = `{"type":"object"}`

func newFunction(name string, parameters json.RawMessage) (function, error) {
	if absent(parameters) {
		parameters = json.RawMessage(emptyParameters)
	}
	if name == "" {
		return function{}, invalid("tools", "a function has no name")
	}
	root, err := parseSchema(parameters)
	if err != nil {
		return function{}, badRequest("tools", "The parameters of function `%s` are no JSON schema: %v", name, err)
	}
	return function{name: name, parameters: root}, nil
}

// readTools takes tools in the form of chat completions.
func readTools(raw json.RawMessage) ([]function, error) {
	if absent(raw) {
		return nil, nil
	}
	var in []struct {
		Type     string `json:"type"`
		Function *struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
	}
	if err := unmarshal("tools", raw, &in); err != nil {
		return nil, err
	}
	if len(in) == 0 {
		return nil, badRequest("tools", "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.")
	}
	var out []function
	for _, tool := range in {
		if tool.Function == nil || tool.Type != "" && tool.Type != "function" {
			return nil, invalid("tools", "a tool must be of type function and have a function")
		}
		f, err := newFunction(tool.Function.Name, tool.Function.Parameters)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// toolChoice is the wish of a request that has tools.
type toolChoice struct {
	mode string // auto, none, required or named
	name string
}

const (
	choiceAuto     = "auto"
	choiceNone     = "none"
	choiceRequired = "required"
	choiceNamed    = "named"
)

// readToolChoice takes tool_choice in the form of chat completions.
func readToolChoice(raw json.RawMessage, tools []function) (toolChoice, error) {
	const usage = `Correct usage: ` + "`" + `{"type": "function", "function": {"name": "my_function"}}` + "`"
	if absent(raw) {
		return toolChoice{mode: choiceAuto}, nil
	}
	var mode string
	if json.Unmarshal(raw, &mode) == nil && mode == choiceNone {
		return toolChoice{mode: choiceNone}, nil
	}
	if tools == nil {
		return toolChoice{}, badRequest("tool_choice", "When using `tool_choice`, `tools` must be set.")
	}
	if mode == choiceAuto || mode == choiceRequired {
		return toolChoice{mode: mode}, nil
	}
	var in struct {
		Function *struct {
			Name *string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(raw, &in) != nil {
		return toolChoice{}, badRequest("tool_choice", "Invalid value for `tool_choice`: %s! Only named tools, \"none\", \"auto\" or \"required\" are supported.", raw)
	}
	switch {
	case in.Function == nil:
		return toolChoice{}, badRequest("tool_choice.function", "Invalid value for `function`: `None` in `tool_choice`! %s", usage)
	case in.Function.Name == nil:
		return toolChoice{}, badRequest("tool_choice.function.name", "Expected field `name` in `function` in `tool_choice`! %s", usage)
	case *in.Function.Name == "":
		return toolChoice{}, badRequest("tool_choice.function.name", "Invalid `name` in `function`: `` in `tool_choice`! %s", usage)
	case !slices.ContainsFunc(tools, func(f function) bool { return f.name == *in.Function.Name }):
		return toolChoice{}, badRequest("tool_choice", "The tool specified in `tool_choice` does not match any of the specified `tools`")
	}
	return toolChoice{mode: choiceNamed, name: *in.Function.Name}, nil
}

// readTools reads what the request may and must call, and decides what it calls.
func (r *request) readTools() error {
	if !r.chat {
		return nil
	}
	tools, err := readTools(r.Tools)
	if err != nil {
		return err
	}
	choice, err := readToolChoice(r.ToolChoice, tools)
	if err != nil {
		return err
	}
	if choice.mode == choiceNamed && !absent(r.StructuredOutputs) {
		return badRequest("", "You can only either use constraints for structured outputs or tools, not both.")
	}
	return r.decideCalls(tools, choice)
}

// decideCalls takes the functions that are called out of those that may be; a named one is there.
func (r *request) decideCalls(tools []function, choice toolChoice) error {
	if len(tools) == 0 || choice.mode == choiceNone {
		return nil
	}
	mentioned, last, err := r.mentions(tools)
	if err != nil {
		return err
	}
	calls := mentioned
	switch choice.mode {
	case choiceNamed:
		named := slices.IndexFunc(tools, func(f function) bool { return f.name == choice.name })
		calls = tools[named : named+1]
	case choiceRequired:
		if len(calls) == 0 {
			calls = tools[:1]
		}
	case choiceAuto:
		if last != roleUser {
			calls = nil
		}
	}
	if r.ParallelToolCalls != nil && !*r.ParallelToolCalls && len(calls) > 1 {
		calls = calls[:1]
	}
	r.form.calls, r.form.named = calls, choice.mode == choiceNamed
	r.form.required = choice.mode == choiceNamed || choice.mode == choiceRequired
	return nil
}

// mentions are the functions that the last user message mentions, and the role of the last message.
func (r *request) mentions(tools []function) (out []function, last string, err error) {
	for i := len(r.Messages) - 1; i >= 0; i-- {
		m := &r.Messages[i]
		if last == "" {
			last = m.Role
		}
		if m.Role != roleUser {
			continue
		}
		text, err := contentText(m.Content)
		if err != nil {
			return nil, "", err
		}
		for _, f := range tools {
			if mentioned(text, f.name) {
				out = append(out, f)
			}
		}
		break
	}
	return out, last, nil
}

// mentioned reports whether the name stands in the text as a word.
func mentioned(text, name string) bool {
	re, err := regexp.Compile(`(?i)(?:^|[^\pL\pN_-])` + regexp.QuoteMeta(name) + `(?:$|[^\pL\pN_-])`)
	return err == nil && re.MatchString(text)
}
