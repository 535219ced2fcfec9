package enginesim

import (
	"encoding/json"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
)

// answerWords is the length of the one value of a json_object.
const answerWords = 8

// readFormat reads response_format and structured_outputs; the former wins.
func (r *request) readFormat() error {
	if !absent(r.StructuredOutputs) {
		if err := r.readStructuredOutputs(); err != nil {
			return err
		}
	}
	if absent(r.ResponseFormat) {
		return nil
	}
	var in struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"json_schema"`
	}
	if err := unmarshal("response_format", r.ResponseFormat, &in); err != nil {
		return err
	}
	switch in.Type {
	case "text", "structural_tag":
		return nil
	case "json_object":
		r.form.text = jsonObject
		return nil
	case "json_schema":
		return r.readSchemaFormat(in.Schema)
	}
	return invalid("body.response_format", "response_format.type: Input should be 'text', 'json_object' or 'json_schema'")
}

func (r *request) readSchemaFormat(raw json.RawMessage) error {
	if absent(raw) {
		return badRequest("response_format", "When response_format type is 'json_schema', the 'json_schema' field must be provided.")
	}
	var in struct {
		Name   *string         `json:"name"`
		Schema json.RawMessage `json:"schema"`
	}
	if err := unmarshal("response_format", raw, &in); err != nil {
		return err
	}
	if in.Name == nil {
		return invalid("body.response_format.json_schema.name", "Field required")
	}
	if absent(in.Schema) {
		return badRequest("", "You must use one kind of structured outputs constraint but none are specified")
	}
	return r.answerSchema("response_format", in.Schema)
}

// answerSchema makes the text a document.
func (r *request) answerSchema(param string, raw json.RawMessage) error {
	root, err := parseSchema(raw)
	if err != nil {
		return badRequest(param, "Invalid JSON schema: %v", err)
	}
	r.form.text = root.document
	return nil
}

func jsonObject(digest string) string {
	return `{"answer": ` + quoted(Proof(digest, answerWords)[1:]) + `}`
}

func (r *request) readStructuredOutputs() error {
	const param = "structured_outputs"
	var in struct {
		JSON       json.RawMessage `json:"json"`
		Regex      *string         `json:"regex"`
		Choice     []string        `json:"choice"`
		Grammar    *string         `json:"grammar"`
		JSONObject *bool           `json:"json_object"`
		Tag        *string         `json:"structural_tag"`
	}
	if err := unmarshal(param, r.StructuredOutputs, &in); err != nil {
		return err
	}
	given := 0
	for _, is := range []bool{!absent(in.JSON), in.Regex != nil, in.Choice != nil, in.Grammar != nil, in.JSONObject != nil, in.Tag != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return badRequest(param, "You can only use one kind of structured outputs constraint but multiple are specified")
	case given == 0:
		return badRequest(param, "You must use one kind of structured outputs constraint but none are specified")
	case in.Regex != nil:
		re, err := syntax.Parse(*in.Regex, syntax.Perl)
		if err != nil {
			return badRequest(param, "Invalid regex: %v", err)
		}
		r.form.text = func(digest string) string { return matching(re, digest) }
	case in.Choice != nil:
		if len(in.Choice) == 0 {
			return badRequest(param, "Choice '[]' cannot be an empty list")
		}
		r.form.text = func(digest string) string { return pick(in.Choice, digest) }
	case in.Grammar != nil:
		return r.answerGrammar(*in.Grammar)
	case in.JSONObject != nil:
		r.form.text = jsonObject
	case in.Tag == nil:
		return r.answerSchema(param, embedded(in.JSON))
	}
	return nil
}

// embedded is the schema where it came as a string.
func embedded(raw json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return json.RawMessage(text)
	}
	return raw
}

var literal = regexp.MustCompile(`"(?:[^"\\]|\\.)+"`)

// answerGrammar makes the text one of the grammar's quoted literals.
func (r *request) answerGrammar(grammar string) error {
	if !regexp.MustCompile(`\S`).MatchString(grammar) {
		return badRequest("structured_outputs", "structured_outputs.grammar cannot be an empty string")
	}
	var literals []string
	for _, q := range literal.FindAllString(grammar, -1) {
		if text, err := strconv.Unquote(q); err == nil && !slices.Contains(literals, text) {
			literals = append(literals, text)
		}
	}
	if len(literals) > 0 {
		r.form.text = func(digest string) string { return pick(literals, digest) }
	}
	return nil
}
