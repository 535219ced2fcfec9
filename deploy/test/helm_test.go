package deploytest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
)

const chartDir = "../helm/baton"

// release is what a user of the chart says.
type release struct {
	name, namespace string
	files           []string // in the chart's folder
	set             []string // as helm's --set
}

var (
	reference = release{name: "llama3-disagg", namespace: "dynamo-cloud", files: []string{"values-reference.yaml"}}
	minimal   = release{name: "try", namespace: "default", files: []string{"values-minimal.yaml"}}
)

func loadChart(t testing.TB) *v2.Chart {
	t.Helper()
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return chart
}

// render returns the chart's documents by template, or what helm would say.
func (r release) render(t testing.TB) (map[string]string, error) {
	t.Helper()
	values := map[string]any{}
	for _, file := range r.files {
		text, err := os.Open(filepath.Join(chartDir, file))
		if err != nil {
			t.Fatal(err)
		}
		more, err := loader.LoadValues(text)
		if err != nil {
			t.Fatal(err)
		}
		values = loader.MergeMaps(values, more)
		if err := text.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, set := range r.set {
		if err := strvals.ParseInto(set, values); err != nil {
			t.Fatal(err)
		}
	}
	chart := loadChart(t)
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

// documents are the YAML documents that render to something, sorted by template.
func (r release) documents(t testing.TB) (docs []document) {
	t.Helper()
	rendered, err := r.render(t)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(file, "NOTES.txt") {
			continue
		}
		for i, text := range strings.Split("\n"+rendered[file], "\n---") {
			if strings.TrimSpace(text) != "" {
				docs = append(docs, document{from: fmt.Sprintf("%s[%d]", file, i), text: text})
			}
		}
	}
	return docs
}

// document is one rendered object.
type document struct{ from, text string }
