package enginesim

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func mustSchema(t *testing.T, schema string) *schemaRoot {
	t.Helper()
	root, err := parseSchema([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestDocumentsFitTheirSchemas(t *testing.T) {
	const word = `[a-z]+`
	for schema, want := range map[string]string{
		`{"type":"string"}`:                            `"` + word + ` ` + word + `"`,
		`{"type":"string","maxLength":3}`:              `".{3}"`,
		`{"type":"string","minLength":40}`:             `".{40,}"`,
		`{"type":"string","pattern":"^[a-c]{2}-\\d$"}`: `"[a-c]{2}-\d"`,
		`{"type":"string","pattern":"^(?=x)y"}`:        `".+"`,
		`{"type":"string","format":"date"}`:            `"\d{4}-\d\d-\d\d"`,
		`{"type":"string","format":"uuid"}`:            `"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"`,
		`{"type":"integer","minimum":-3,"maximum":-3}`: `-3`,
		`{"type":"integer","exclusiveMinimum":7}`:      `[89]|\d\d+`,
		`{"type":"integer","multipleOf":50}`:           `0|50`,
		`{"type":"integer","minimum":1e300}`:           `\d+`,
		`{"type":"number","minimum":1,"maximum":2}`:    `1\.\d+`,
		`{"type":"boolean"}`:                           `true|false`,
		`{"type":["null","string"]}`:                   `".+"`,
		`{"type":"null"}`:                              `null`,
		`{"enum":["<a>",{"b":1}]}`:                     `"<a>"|\{"b":1\}`,
		`{"const":null}`:                               `null`,
		`true`:                                         `".+"`,
		`{}`:                                           `".+"`,
		`{"type":"array","items":{"const":1}}`:         `\[1(, 1)?\]`,
		`{"type":"array","minItems":3,"maxItems":3}`:   `\[".+", ".+", ".+"\]`,
		`{"type":"array","maxItems":0}`:                `\[\]`,
		`{"prefixItems":[{"const":1},{"const":2}]}`:    `\[1, 2\]`,
		`{"type":"object"}`:                            `\{\}`,
		`{"required":["b","a"]}`:                       `\{"a": ".+", "b": ".+"\}`,
		`{"properties":{"z":{"const":1},"a":true}}`:    `\{"z": 1, "a": ".+"\}`,
		`{"anyOf":[{"const":1},{"type":"null"}]}`:      `1`,
		`{"allOf":[{"$ref":"#/$defs/A"}],"$defs":{"A":{"properties":{"x":{"const":1}}}}}`: `\{"x": 1\}`,
		`{"$ref":"#/definitions/A","definitions":{"A":{"const":1}}}`:                      `1`,
		`{"$ref":"#/nowhere"}`: `".+"`,
		// Schemas that contain themselves come to an end.
		`{"properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]}`: `(\{"next": )+null\}+`,
		`{"properties":{"kids":{"type":"array","items":{"$ref":"#"}}}}`:                        `\{"kids": .*\}`,
		`{"properties":{"self":{"$ref":"#"}},"required":["self"]}`:                             `(\{"self": )+null\}+`,
		`{"$ref":"#"}`: `".+"`,
	} {
		got, err := Document("digest", []byte(schema))
		if err != nil {
			t.Errorf("%s: %v", schema, err)
			continue
		}
		if !regexp.MustCompile(`^(?:`+want+`)$`).MatchString(got) || !json.Valid([]byte(got)) {
			t.Errorf("%s gives %s, want %s", schema, got, want)
		}
	}
}

func TestDocumentIsOfItsDigest(t *testing.T) {
	schema := mustSchema(t, `{"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`)
	one := schema.document("one")
	if one != schema.document("one") {
		t.Error("a digest has two documents")
	}
	if one == schema.document("two") {
		t.Error("two digests have the same document")
	}
	var values struct{ A, B string }
	if err := json.Unmarshal([]byte(one), &values); err != nil || values.A == values.B {
		t.Errorf("%s: %v, want values that differ", one, err)
	}
}

func TestSchemasThatAreRefused(t *testing.T) {
	for _, schema := range []string{
		``, `5`, `"string"`, `{"type":"foo"}`, `{"type":5}`, `{"properties":5}`, `{"properties":{"a":{"type":"b"}}}`, `{"items":{"type":"b"}}`,
		`{"anyOf":[{"type":"b"}]}`, `{"allOf":[1]}`, `{"$defs":{"a":{"type":"b"}}}`, `{"required":"a"}`, `{"properties":{"a":{},"a":{}}}`,
		strings.Repeat(`{"items":`, 200) + `{}` + strings.Repeat(`}`, 200),
	} {
		if got, err := Document("digest", []byte(schema)); err == nil {
			t.Errorf("%.80s gives %s, want an error", schema, got)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":["integer","null"],"multipleOf":0.1,"maximum":1e308}}}`)
	f.Add(`{"type":"array","minItems":9999999,"items":{"$ref":"#"}}`)
	f.Add(`{"anyOf":[{"pattern":"^\\d{1000}$"},{"minLength":9999999}]}`)
	f.Fuzz(func(t *testing.T, schema string) {
		got, err := Document("digest", []byte(schema))
		if err == nil && !json.Valid([]byte(got)) {
			t.Errorf("%s gives %s", schema, got)
		}
	})
}
