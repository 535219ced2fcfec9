package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/baton-llm/baton"

// only names the one package that may import a module; everything else goes through it.
var only = []struct{ module, owner string }{
	{"github.com/nats-io/nats.go", "internal/bus"},
	{"github.com/nats-io/nats-server", "internal/natsd"},
	{"github.com/go-json-experiment/json", "internal/rawjson"},
	{"github.com/getkin/kin-openapi", "api/spec/spectest"},
}

// stages never import each other, but for the pairs in mayImport.
var (
	stages    = []string{"api", "router", "prefill", "decode"}
	mayImport = map[string]string{"api": "router"}
)

// leaves may import, of baton's packages, only those listed.
var leaves = map[string][]string{
	"kvtransfer":              {"internal/rawjson"},
	"internal/wire":           {"kvtransfer"},
	"api/auth":                {"internal/wire"},
	"router/schedule":         {"internal/config", "internal/wire"},
	"router/resume":           {"internal/rawjson", "internal/sse"},
	"router/series":           {"internal/wire"},
	"router/dispatch":         {"internal/bus", "internal/config", "internal/histogram", "internal/wire", "router/schedule"},
	"internal/histogram":      {},
	"internal/lend":           {},
	"internal/socket":         {},
	"internal/lawsim":         {"internal/enginesim", "internal/wire", "router/schedule"},
	"internal/plan":           {"internal/config", "internal/enginesim", "internal/lawsim", "internal/wire", "router/schedule"},
	"internal/bench":          {},
	"internal/bench/workload": {"internal/bench", "internal/config"},
	"internal/bench/report":   {"internal/bench"},
	"internal/sse":            {},
	"internal/chaos":          {"internal/enginesim"},
	"internal/peers":          {"internal/peers/load", "internal/peers/stub"},
	"internal/peers/load":     {},
	"internal/peers/stub":     {},
	"internal/supervise":      {"internal/config"},
	"internal/vllm":           {"internal/config", "internal/wire"},
}

// within reports whether package or module p is root or below it.
func within(p, root string) bool {
	return p == root || strings.HasPrefix(p, root+"/")
}

// importFault says why the file (slash-separated, from the module's root) may not import target;
// "" when it may.
func importFault(file, target string) string {
	dir, isTest := path.Dir(file), strings.HasSuffix(file, "_test.go")
	for _, rule := range only {
		if !within(target, rule.module) || within(dir, rule.owner) {
			continue
		}
		if isTest && strings.HasSuffix(target, "/server/ats") {
			continue // stops the embedded server's clock goroutine for goleak
		}
		return "only " + rule.owner + " may"
	}
	target, ours := strings.CutPrefix(target, module+"/")
	if !ours {
		return ""
	}
	from, _, _ := strings.Cut(dir, "/")
	to, _, _ := strings.Cut(target, "/")
	if from != to && mayImport[from] != to && slices.Contains(stages, from) && slices.Contains(stages, to) {
		return "stages do not know each other"
	}
	if allowed, isLeaf := leaves[dir]; isLeaf && !isTest && !slices.Contains(allowed, target) {
		return fmt.Sprintf("%s is a leaf over %v", dir, allowed)
	}
	return ""
}

// readsEnvironment lists the calls in f that read the process's environment.
func readsEnvironment(f *ast.File) (reads []*ast.SelectorExpr) {
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := call.X.(*ast.Ident); ok && pkg.Name == "os" &&
				slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, call.Sel.Name) {
				reads = append(reads, call)
			}
		}
		return true
	})
	return reads
}

func mayReadEnvironment(file string) bool {
	return within(path.Dir(file), "cmd") || within(path.Dir(file), "internal/config")
}

func TestTheTreeKeepsItsRules(t *testing.T) {
	root := os.DirFS("../..")
	seen := 0
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != "." && (name[0] == '.' || name[0] == '_' || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(file) != ".go" {
			return nil
		}
		seen++
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, file, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if fault := importFault(file, target); fault != "" {
				t.Errorf("%s: imports %s: %s", files.Position(spec.Pos()), target, fault)
			}
		}
		if mayReadEnvironment(file) {
			return nil
		}
		for _, read := range readsEnvironment(parsed) {
			t.Errorf("%s: os.%s: only cmd and internal/config read the environment", files.Position(read.Pos()), read.Sel.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 {
		t.Errorf("found %d Go files; is ../.. still the module's root?", seen)
	}
}

func TestImportRules(t *testing.T) {
	for _, tt := range []struct {
		file, target string
		allowed      bool
	}{
		{"internal/bus/bus.go", "github.com/nats-io/nats.go/jetstream", true},
		{"router/router.go", "github.com/nats-io/nats.go/jetstream", false},
		{"router/router_test.go", "github.com/nats-io/nats.go", false},
		{"internal/natsd/natsd.go", "github.com/nats-io/nats-server/v2/server", true},
		{"internal/bus/bus_test.go", "github.com/nats-io/nats-server/v2/server", false},
		{"internal/bus/main_test.go", "github.com/nats-io/nats-server/v2/server/ats", true},
		{"internal/bus/bus.go", "github.com/nats-io/nats-server/v2/server/ats", false},
		{"internal/rawjson/parse.go", "github.com/go-json-experiment/json/jsontext", true},
		{"api/openai/chat.go", "github.com/go-json-experiment/json", false},
		{"api/spec/spectest/spectest.go", "github.com/getkin/kin-openapi/openapi3", true},
		{"api/openapi.go", "github.com/getkin/kin-openapi/openapi3", false},
		{"api/chat.go", module + "/router", true},
		{"api/chat.go", module + "/api/openai", true},
		{"api/auth/auth.go", module + "/internal/wire", true},
		{"api/auth/auth.go", module + "/router", false},
		{"router/router.go", module + "/api", false},
		{"router/schedule/place.go", module + "/internal/wire", true},
		{"router/schedule/place.go", module + "/internal/bus", false},
		{"router/dispatch/lane.go", module + "/router/schedule", true},
		{"router/dispatch/lane.go", module + "/router", false},
		{"router/dispatch/lane.go", module + "/internal/fleet", false},
		{"prefill/worker.go", module + "/decode", false},
		{"decode/worker_test.go", module + "/router", false},
		{"internal/app/app.go", module + "/decode", true},
		{"kvtransfer/nixl.go", module + "/internal/rawjson", true},
		{"kvtransfer/nixl.go", module + "/internal/wire", false},
		{"internal/wire/job.go", module + "/kvtransfer", true},
		{"internal/wire/job.go", module + "/internal/rawjson", false},
		{"internal/wire/job.go", module + "/internal/bus", false},
		{"internal/wire/job.go", "encoding/json", true},
		{"internal/bench/client.go", module + "/internal/engine", false},
		{"internal/bench/run_test.go", module + "/internal/pipenet", true},
		{"internal/bench/workload/spec.go", module + "/internal/config", true},
		{"internal/bench/report/html.go", module + "/internal/bench", true},
		{"internal/chaos/client.go", module + "/internal/enginesim", true},
		{"internal/chaos/client.go", module + "/internal/bus", false},
		{"internal/supervise/child.go", module + "/internal/vllm", false},
		{"internal/vllm/engine.go", module + "/internal/supervise", false},
	} {
		if fault := importFault(tt.file, tt.target); (fault == "") != tt.allowed {
			t.Errorf("%s imports %s: fault %q, want allowed = %t", tt.file, tt.target, fault, tt.allowed)
		}
	}
}

func TestEnvironmentRule(t *testing.T) {
	const text = `package p
import "os"
var a, b = os.Getenv("A"), os.Args
func f() { _, _ = os.LookupEnv("B") }`
	parsed, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(readsEnvironment(parsed)); got != 2 {
		t.Errorf("found %d reads of the environment, want 2", got)
	}
	for file, want := range map[string]bool{"cmd/baton/main.go": true, "internal/config/load.go": true, "internal/bus/bus.go": false} {
		if got := mayReadEnvironment(file); got != want {
			t.Errorf("mayReadEnvironment(%s) = %t, want %t", file, got, want)
		}
	}
}
