package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/api/spec"
)

func TestEveryRouteIsDescribedAndNoOther(t *testing.T) {
	server := New(DefaultConfig(), Deps{Metrics: http.NotFoundHandler(), Registerer: prometheus.NewRegistry()})
	var routes, operations []string
	err := chi.Walk(server.handler.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routes = append(routes, method+" "+strings.ReplaceAll(route, "/*", "/{model}")) // a path parameter of OpenAPI
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := spec.JSON("v1")
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	for path, item := range described.Paths {
		for method := range item {
			operations = append(operations, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(operations)
	if diff := cmp.Diff(routes, operations); diff != "" {
		t.Errorf("routes and operations differ (-routes +operations):\n%s", diff)
	}
}

func TestDescriptionNamesTheVersionAndIsCached(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, nil)
	resp, text := h.do(t, "GET", "/openapi.json", "")
	if !strings.Contains(text, `"version":"v1"`) || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answer is %s %.200s", resp.Header.Get("Content-Type"), text)
	}
	etag := resp.Header.Get("Etag")
	for sent, want := range map[string]int{
		etag: 304, `W/` + etag: 304, `"other", ` + etag: 304, "*": 304, `"other"`: 200, "": 200,
	} {
		if resp, _ := h.do(t, "GET", "/openapi.json", "", "If-None-Match", sent); resp.StatusCode != want || resp.Header.Get("Etag") != etag {
			t.Errorf("for If-None-Match %s the answer is %d with ETag %s, want %d and %s", sent, resp.StatusCode, resp.Header.Get("Etag"), want, etag)
		}
	}
}
