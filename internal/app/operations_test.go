package app

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const operationsDoc = "../../docs/operations.md"

var row = regexp.MustCompile("(?m)^\\| `(baton_[a-z0-9_]+)(?:\\{[a-z_,]*\\})?` \\|([^|]*)\\|([^|]*)\\|$")

// Each metric has a row: what it says, and what to do when it moves.
func TestOperationsDocHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile(operationsDoc)
	if err != nil {
		t.Fatal(err)
	}
	doc := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if doc[m[1]] {
			t.Errorf("%s has two rows", m[1])
		}
		doc[m[1]] = true
		if strings.TrimSpace(m[2]) == "" || strings.TrimSpace(m[3]) == "" {
			t.Errorf("the row of %s has an empty cell", m[1])
		}
	}
	have, want := slices.Sorted(maps.Keys(doc)), slices.Sorted(maps.Keys(namesInCode(t)))
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("docs/operations.md has other metrics than the code (-code +doc):\n%s", diff)
	}
	for _, name := range regexp.MustCompile(`baton_[a-z0-9_]*[a-z0-9]`).FindAllString(string(text), -1) {
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !doc[name] {
			t.Errorf("the text names %s, which there is not", name)
		}
	}
}
