package app

import (
	"os"
	"regexp"
	"testing"

	"github.com/baton-llm/baton/internal/config"
)

// docs/limits.md names each setting as it is, with its default.
func TestLimitsDocNamesSettingsAndDefaults(t *testing.T) {
	text, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	values := map[string]string{}
	for _, l := range config.Leaves(&cfg) {
		values[l.Path] = l.Value
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| `([^`]*)` \\|").FindAllStringSubmatch(string(text), -1)
	if len(rows) == 0 {
		t.Fatal("docs/limits.md has no rows")
	}
	for _, row := range rows {
		if value, known := values[row[1]]; !known || value != row[2] {
			t.Errorf("docs/limits.md says %s is %s by default; it is %q (known: %v)", row[1], row[2], value, known)
		}
	}
}
