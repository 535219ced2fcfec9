package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOperatorsHaveAListenerOfTheirOwn(t *testing.T) {
	for _, separate := range []bool{false, true} {
		h := start(t, failing(errors.New("called")), oneModel, func(c *Config) {
			if separate {
				c.AdminListen = "127.0.0.1:9090"
			}
		})
		admin := httptest.NewServer(h.server.Admin())
		defer admin.Close()
		for _, c := range []struct {
			path        string
			main, admin int
			in          string
		}{
			{"/metrics", map[bool]int{false: 200, true: 404}[separate], 200, "metrics of this process"},
			{"/healthz", 200, 200, "{}"},
			{"/readyz", 200, 200, `{"ready":true}`},
			{"/version", 200, 200, `{"version":"v1"}`},
			{"/debug/pprof/", 404, 200, "goroutine"},
			{"/debug/pprof/goroutine?debug=1", 404, 200, "goroutine profile: total"},
			{"/v1/models", 200, 404, `{"error":`},
		} {
			if resp, _ := h.do(t, "GET", c.path, ""); resp.StatusCode != c.main {
				t.Errorf("separate %t: %s for clients is %d, want %d", separate, c.path, resp.StatusCode, c.main)
			}
			resp, err := http.Get(admin.URL + c.path)
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, resp); resp.StatusCode != c.admin || !strings.Contains(text, c.in) {
				t.Errorf("separate %t: %s for operators is %d %.200s, want %d", separate, c.path, resp.StatusCode, text, c.admin)
			}
		}
	}
}

// scrape is a stand-in for the registry's handler.
var scrape = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics of this process") })
