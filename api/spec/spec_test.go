package spec_test

import (
	"testing"

	"github.com/baton-llm/baton/api/spec"
	"github.com/baton-llm/baton/api/spec/spectest"
)

func TestTheDescriptionIsValidAndNamesTheVersion(t *testing.T) {
	text, err := spec.JSON("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	description, err := spectest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := description.Version(); got != "v1.2.3" {
		t.Errorf("info.version is %q, want the version asked for", got)
	}
}
