package deploytest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

var update = flag.Bool("update", false, "write the chart's README.md")

// What is wrong in values is said before anything is installed.
func TestWrongValuesAreRefused(t *testing.T) {
	for set, want := range map[string]string{
		"prefil.replicas=2":                      "prefil",
		"engine.tensorparallel=4":                "tensorparallel",
		"engine.kind=sglang":                     "/engine/kind",
		"engine.leaseSeconds=3":                  "/engine/leaseSeconds",
		"nats.builtin.replicas=2":                "/nats/builtin/replicas",
		"nats.builtin.enabled=false":             "/nats/url",
		"auth.mode=keysFile":                     "/auth/existingSecret",
		"auth.mode=none":                         "/auth/mode",
		"nats.credsSecret=c":                     "nats.credsSecret is for servers of your own",
		"frontend.ingress.enabled=true":          "frontend.ingress.host is empty",
		"frontend.replicas=two":                  "/frontend/replicas",
		"nats.builtin.maxMemory=4GB":             "/nats/builtin/maxMemory",
		"autoscaling.cooldownSeconds=3600":       "/autoscaling/cooldownSeconds",
		"metrics.serviceMonitor.enabled=perhaps": "/metrics/serviceMonitor/enabled",
	} {
		_, err := release{name: "b", namespace: "n", set: []string{set}}.render(t)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "'", ""), want) {
			t.Errorf("%s: %v, want %q in it", set, err, want)
		}
	}
}

// The schema knows no value that values.yaml does not have: it would be one without a comment.
func TestSchemaHasTheValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema property
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global") // helm's
	known := map[string]bool{}
	for _, v := range commented(t) {
		known[v.path] = true
		for at := strings.LastIndex(v.path, "."); at > 0; at = strings.LastIndex(v.path[:at], ".") {
			known[v.path[:at]] = true
		}
	}
	schema.each("", func(path string) {
		if !known[path] {
			t.Errorf("the schema has %s, and values.yaml has not", path)
		}
		delete(known, path)
	})
	for path := range known {
		t.Errorf("values.yaml has %s, and the schema has not", path)
	}
}

type property struct {
	Properties map[string]property `json:"properties"`
}

func (p property) each(path string, f func(string)) {
	for name, below := range p.Properties {
		f(strings.TrimPrefix(path+"."+name, "."))
		below.each(path+"."+name, f)
	}
}

// value is one with a comment, as the README shows it.
type value struct{ path, value, comment string }

// commented are the values of values.yaml in its order. A comment that begins with -- makes one; all below belongs to it.
func commented(t *testing.T) (values []value) {
	t.Helper()
	file, err := parser.ParseFile(filepath.Join(chartDir, "values.yaml"), parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(prefix string, node ast.Node)
	walk = func(prefix string, node ast.Node) {
		mapping, ok := node.(*ast.MappingNode)
		if !ok {
			t.Errorf("%s has no comment: write # -- above it", strings.TrimSuffix(prefix, "."))
			return
		}
		for _, member := range mapping.Values {
			path, comment := prefix+member.Key.String(), ""
			if group := member.GetComment(); group != nil {
				last := group.Comments[len(group.Comments)-1].Token.Value
				comment, _ = strings.CutPrefix(strings.TrimSpace(last), "-- ")
			}
			if comment == "" {
				walk(path+".", member.Value)
				continue
			}
			var plain any
			if err := yaml.NodeToValue(member.Value, &plain); err != nil {
				t.Fatal(err)
			}
			shown, err := json.Marshal(plain)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value{path, string(shown), comment})
		}
	}
	walk("", file.Docs[0].Body)
	return values
}

// The table of the README is made of values.yaml: go test -run TestReadme -update.
func TestReadme(t *testing.T) {
	const begin, end = "<!-- values: written by a test -->\n", "<!-- end of values -->"
	path := filepath.Join(chartDir, "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the values", path)
	}
	var table strings.Builder
	table.WriteString("| value | default | |\n|---|---|---|\n")
	for _, v := range commented(t) {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", v.path, strings.ReplaceAll(v.value, "|", `\|`), strings.ReplaceAll(v.comment, "|", `\|`))
	}
	want := before + begin + table.String() + end + after
	if *update {
		err = os.WriteFile(path, []byte(want), 0o644)
	} else if want != string(text) {
		t.Errorf("%s does not have the values of values.yaml; go test ./deploy/test -run TestReadme -update", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
