package app

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/wire"
)

var metricName = regexp.MustCompile(`^baton_[a-z0-9_]+$`)

// namesInCode are the names of all metrics: the literals of that form in the product's code. Those in internal/chaos are
// of a reader.
func namesInCode(t *testing.T) map[string]bool {
	t.Helper()
	names, root := map[string]bool{}, os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(file) > 1 && d.Name()[0] == '.' || file == "internal/chaos"):
			return fs.SkipDir
		case path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if name, err := strconv.Unquote(lit.Value); err == nil && metricName.MatchString(name) {
					names[name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// gathered are the families of baton's own metrics that have a value.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range all {
		if strings.HasPrefix(f.GetName(), "baton_") {
			families[f.GetName()] = f
		}
	}
	return families
}

// rare have a value only when something happens that traffic does not bring about.
var rare = []string{
	"baton_api_refused_total", "baton_api_tenant_tokens_total", // with API keys
	"baton_supervise_ready", "baton_supervise_starts_total", // with engines that baton starts
}

// disturbed sends requests of all classes to a deployment, some of which go wrong in every way that metrics tell of.
func disturbed(t *testing.T, base string, d *deployment) {
	t.Helper()
	url, model := base+"/v1/chat/completions", d.proc.cfg.Sim.Model
	for i, class := range []string{"interactive", "standard", "batch"} {
		for _, prompt := range []string{"short", words(1000)} {
			if status, text := ask(t, http.DefaultClient, url, chatBody(model, fmt.Sprint(i, prompt), 5), "X-Baton-Class", class); status != 200 {
				t.Fatalf("answer is %d %s", status, text)
			}
		}
	}
	ask(t, http.DefaultClient, url, chatBody("no such model", "hi", 5))
	d.faults(wire.RoleDecode, enginesim.Faults{Status: 500})
	ask(t, http.DefaultClient, url, chatBody(model, words(1000), 5))
	d.faults(wire.RoleDecode, enginesim.Faults{CutAfter: 3})
	ask(t, http.DefaultClient, url, chatBody(model, "to be continued", 10))
	d.faults(wire.RoleDecode, enginesim.Faults{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := streamChat(ctx, http.DefaultClient, base, chatBody(model, "hi", 5)); err == nil {
		t.Error("an engine that hangs has answered")
	}
	ask(t, http.DefaultClient, url, chatBody(model, "hi", 5), "X-Baton-Deadline-Ms", "100")
	d.faults(wire.RoleDecode, enginesim.Faults{})
	nothingHeld(t, d)
}

func TestMetricsAreWellNamedAndBounded(t *testing.T) {
	cfg := quick()
	cfg.Sim.Lease, cfg.Prefill.Lease = 3*time.Second, 3*time.Second
	base, d := startUp(t, cfg)
	disturbed(t, base, d)
	problems, err := testutil.GatherAndLint(d.proc.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families := gathered(t, d.proc.reg)
	code := namesInCode(t)
	for name := range code {
		if families[name] == nil && !slices.Contains(rare, name) {
			t.Errorf("%s has no value after traffic of all kinds", name)
		}
	}
	for name, f := range families {
		if !code[name] {
			t.Errorf("%s is not written out in the code, so that nobody finds it", name)
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil && h.GetSchema() == 0 && h.GetZeroThreshold() == 0 {
				t.Errorf("%s has no native buckets", name)
			}
			for _, l := range m.GetLabel() {
				if strings.Contains(l.GetValue(), "no such model") {
					t.Errorf("%s has a label of what a client sent: %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}
