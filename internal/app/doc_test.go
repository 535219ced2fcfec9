package app

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/openai.md that tests make")

const openAIDoc = "../../docs/openai.md"

// inDoc holds a part of docs/openai.md, between its markers, to what a test found.
func inDoc(t *testing.T, part string, rows []string) {
	t.Helper()
	text, err := os.ReadFile(openAIDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, begun := strings.Cut(string(text), "<!-- begin "+part+" -->\n")
	old, tail, ended := strings.Cut(rest, "<!-- end "+part+" -->\n")
	if !begun || !ended {
		t.Fatalf("%s has no part %q", openAIDoc, part)
	}
	now := strings.Join(rows, "\n") + "\n"
	if !*update {
		if diff := cmp.Diff(old, now); diff != "" {
			t.Errorf("%s is stale, go test ./internal/app -run TestOpenAIDoc -update renews it (-doc +code):\n%s", openAIDoc, diff)
		}
		return
	}
	head += "<!-- begin " + part + " -->\n" + now + "<!-- end " + part + " -->\n"
	if err := os.WriteFile(openAIDoc, []byte(head+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
