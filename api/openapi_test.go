package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/baton-llm/baton/api/spec"
	"github.com/baton-llm/baton/api/spec/spectest"
	"github.com/baton-llm/baton/router"
)

func described(t *testing.T) *spectest.Description {
	t.Helper()
	text, err := spec.JSON("v1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := spectest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryRouteIsDescribedAndNoOther(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, nil)
	var routes []string
	err := chi.Walk(h.server.handler.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routes = append(routes, method+" "+strings.ReplaceAll(route, "/*", "/{model}")) // OpenAPI has no wildcard
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	operations := described(t).Operations()
	slices.Sort(routes)
	slices.Sort(operations)
	if diff := cmp.Diff(routes, operations); diff != "" {
		t.Errorf("routes and operations differ (-routes +operations):\n%s", diff)
	}
}

func TestErrorsAreAsDescribed(t *testing.T) {
	d := described(t)
	var next atomic.Pointer[router.Error]
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return nil, next.Load() }}
	h := start(t, r, oneModel, nil)
	paths := slices.Concat(slices.Collect(maps.Keys(generatePaths)), passthroughPaths)
	for _, path := range paths {
		for _, text := range d.Statuses("POST", path) {
			status, err := strconv.Atoi(text)
			if err != nil || status < http.StatusBadRequest {
				continue
			}
			next.Store(&router.Error{Status: status, Message: "m"})
			body := chatBody
			if path == "/v1/completions" {
				body = `{"prompt":"x"}`
			}
			resp, answer := h.do(t, "POST", path, body)
			if resp.StatusCode != status {
				t.Errorf("%s answers %d, want %d", path, resp.StatusCode, status)
			}
			if err := d.Check("POST", path, resp, answer); err != nil {
				t.Errorf("%s %d: %v", path, status, err)
			}
		}
	}
}

func TestTheDescriptionIsCached(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, nil)
	resp, text := h.do(t, "GET", "/openapi.json", "")
	if err := described(t).Check("GET", "/openapi.json", resp, text); err != nil {
		t.Error(err)
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
