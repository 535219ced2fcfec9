package spec_test

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/baton-llm/baton/api/spec"
)

func TestTheDescriptionIsValid(t *testing.T) {
	text, err := spec.JSON("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := document.Info.Version; got != "v1.2.3" {
		t.Errorf("info.version is %q, want the version asked for", got)
	}
	if err := document.Validate(loader.Context); err != nil {
		t.Error(err)
	}
}
