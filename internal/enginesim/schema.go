package enginesim

import (
	"encoding/json"
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/baton-llm/baton/internal/rawjson"
)

// schema is a JSON schema, as far as documents are made by it. What is not here is not looked at.
type schema struct {
	kind       string // "": any
	literals   []string
	properties []property
	required   map[string]bool
	items      *schema
	prefix     []*schema
	least      int // items of an array
	most       int
	anyOf      []*schema
	allOf      []*schema
	ref        string // "": none
	text       textRules
	number     numberRules
}

type property struct {
	name   string
	schema *schema
}

type textRules struct {
	least, most int // characters
	pattern     *syntax.Regexp
	format      string
}

// numberRules are bounds that numbers must keep, both inclusive; nil: none.
type numberRules struct {
	least, most *float64
	above       *float64
	below       *float64
	multiple    float64 // 0: any
}

const (
	kindObject  = "object"
	kindArray   = "array"
	kindString  = "string"
	kindInteger = "integer"
	kindNumber  = "number"
	kindBoolean = "boolean"
	kindNull    = "null"

	unbounded = -1
)

// schemaRoot is a schema with what its references point at.
type schemaRoot struct {
	*schema
	targets map[string]*schema
}

// parseSchema compiles a schema. Its errors are for the client.
func parseSchema(raw []byte) (*schemaRoot, error) {
	if rawjson.Value(raw).Kind() != rawjson.KindObject {
		s, err := parseNode(raw)
		return &schemaRoot{schema: s}, err
	}
	o, err := rawjson.Parse(raw) // which also bounds the depth
	if err != nil {
		return nil, err
	}
	s, err := parseNode(raw)
	if err != nil {
		return nil, err
	}
	root := &schemaRoot{schema: s, targets: map[string]*schema{"#": s}}
	for _, place := range []string{"$defs", "definitions"} {
		defs, ok := o.Get(place)
		if !ok {
			continue
		}
		err := eachMember(defs, func(name string, raw rawjson.Value) error {
			target, err := parseNode(raw)
			root.targets["#/"+place+"/"+name] = target
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
	}
	return root, nil
}

func eachMember(raw rawjson.Value, f func(name string, raw rawjson.Value) error) error {
	o, err := raw.Object()
	if err != nil {
		return err
	}
	for name := range o.Names() {
		member, _ := o.Get(name)
		if err := f(name, member); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// parseNode compiles one schema within a schema.
func parseNode(raw rawjson.Value) (*schema, error) {
	if raw.Kind() == rawjson.KindBool {
		return &schema{most: unbounded, text: textRules{most: unbounded}}, nil
	}
	var in struct {
		Type       json.RawMessage   `json:"type"`
		Enum       []json.RawMessage `json:"enum"`
		Const      json.RawMessage   `json:"const"`
		Properties json.RawMessage   `json:"properties"`
		Required   []string          `json:"required"`
		Items      json.RawMessage   `json:"items"`
		Prefix     []json.RawMessage `json:"prefixItems"`
		MinItems   int               `json:"minItems"`
		MaxItems   *int              `json:"maxItems"`
		AnyOf      []json.RawMessage `json:"anyOf"`
		OneOf      []json.RawMessage `json:"oneOf"`
		AllOf      []json.RawMessage `json:"allOf"`
		Ref        string            `json:"$ref"`
		MinLength  int               `json:"minLength"`
		MaxLength  *int              `json:"maxLength"`
		Pattern    string            `json:"pattern"`
		Format     string            `json:"format"`
		Minimum    *float64          `json:"minimum"`
		Maximum    *float64          `json:"maximum"`
		Above      *float64          `json:"exclusiveMinimum"`
		Below      *float64          `json:"exclusiveMaximum"`
		MultipleOf float64           `json:"multipleOf"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, err
	}
	s := &schema{
		ref: in.Ref, least: in.MinItems, most: orUnbounded(in.MaxItems), required: map[string]bool{},
		text:   textRules{least: in.MinLength, most: orUnbounded(in.MaxLength), format: in.Format},
		number: numberRules{least: in.Minimum, most: in.Maximum, above: in.Above, below: in.Below, multiple: in.MultipleOf},
	}
	if in.Const != nil {
		s.literals = []string{compact(in.Const)}
	}
	for _, v := range in.Enum {
		s.literals = append(s.literals, compact(v))
	}
	for _, name := range in.Required {
		s.required[name] = true
	}
	var err error
	if s.kind, err = parseKind(in.Type); err != nil {
		return nil, err
	}
	if in.Pattern != "" {
		// A pattern that Go cannot read is left out: JSON schema's dialect has more than Go's.
		s.text.pattern, _ = syntax.Parse(in.Pattern, syntax.Perl)
	}
	return s, s.parseParts(in.Properties, in.Items, in.Prefix, append(in.AnyOf, in.OneOf...), in.AllOf)
}

func orUnbounded(n *int) int {
	if n == nil {
		return unbounded
	}
	return max(0, *n)
}

// parseParts compiles the schemas that s consists of.
func (s *schema) parseParts(properties, items json.RawMessage, prefix, anyOf, allOf []json.RawMessage) error {
	if !absent(properties) {
		err := eachMember(rawjson.Value(properties), func(name string, raw rawjson.Value) error {
			p, err := parseNode(raw)
			s.properties = append(s.properties, property{name, p})
			return err
		})
		if err != nil {
			return fmt.Errorf("properties: %w", err)
		}
	}
	if !absent(items) {
		var err error
		if s.items, err = parseNode(rawjson.Value(items)); err != nil {
			return fmt.Errorf("items: %w", err)
		}
	}
	for _, part := range []struct {
		name string
		raw  []json.RawMessage
		into *[]*schema
	}{{"prefixItems", prefix, &s.prefix}, {"anyOf", anyOf, &s.anyOf}, {"allOf", allOf, &s.allOf}} {
		for i, raw := range part.raw {
			p, err := parseNode(rawjson.Value(raw))
			if err != nil {
				return fmt.Errorf("%s: %d: %w", part.name, i, err)
			}
			*part.into = append(*part.into, p)
		}
	}
	return nil
}

// parseKind takes a type or the first one of a list that is not null.
func parseKind(raw json.RawMessage) (string, error) {
	if absent(raw) {
		return "", nil
	}
	var one string
	var many []string
	if json.Unmarshal(raw, &one) == nil {
		many = []string{one}
	} else if err := json.Unmarshal(raw, &many); err != nil {
		return "", fmt.Errorf("type must be a string or a list of strings: %w", err)
	}
	kind := ""
	for _, k := range many {
		switch k {
		case kindObject, kindArray, kindString, kindInteger, kindNumber, kindBoolean, kindNull:
		default:
			return "", fmt.Errorf("unsupported type %q", k)
		}
		if kind == "" || kind == kindNull {
			kind = k
		}
	}
	return kind, nil
}

// quoted is a string as JSON, which leaves <, > and & as they are.
func quoted(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}
