package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestPagesOfAllowedOriginsMayCall(t *testing.T) {
	const page = "https://chat.example.com"
	for _, c := range []struct {
		name    string
		origins []string
		want    string // Access-Control-Allow-Origin for page
	}{
		{"named", []string{"http://localhost:3000", page}, page},
		{"by pattern", []string{"https://*.example.com"}, page},
		{"every one", []string{"*"}, "*"},
		{"another", []string{"https://example.com"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, failing(errors.New("called")), oneModel, func(cfg *Config) { cfg.CORSOrigins = c.origins })
			ask, _ := h.do(t, "OPTIONS", chatPath, "", "Origin", page, "Access-Control-Request-Method", "POST",
				"Access-Control-Request-Headers", "authorization,content-type,x-stainless-lang")
			if got := ask.Header.Get("Access-Control-Allow-Origin"); got != c.want || ask.StatusCode != http.StatusNoContent {
				t.Errorf("preflight is %d for %q, want %q", ask.StatusCode, got, c.want)
			}
			if c.want != "" && !strings.Contains(ask.Header.Get("Access-Control-Allow-Headers"), "x-stainless-lang") {
				t.Errorf("preflight allows the headers %q", ask.Header.Get("Access-Control-Allow-Headers"))
			}
			for _, path := range []string{"/v1/models", "/nothing"} { // an error must be readable, too
				resp, _ := h.do(t, "GET", path, "", "Origin", page)
				exposed := resp.Header.Get("Access-Control-Expose-Headers")
				if got := resp.Header.Get("Access-Control-Allow-Origin"); got != c.want || (exposed == "*") != (c.want != "") {
					t.Errorf("GET %s is for %q and shows %q, want %q", path, got, exposed, c.want)
				}
				if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != "" {
					t.Errorf("cookies are allowed: %q", got) // * would then stand for a header of that name
				}
			}
			for _, resp := range []*http.Response{ask, only(h.do(t, "GET", "/v1/models", ""))} {
				if got := resp.Header.Get("Vary"); !strings.HasPrefix(got, "Origin") {
					t.Errorf("Vary is %q, want Origin in it", got)
				}
			}
		})
	}
}

func only(resp *http.Response, _ string) *http.Response { return resp }

func TestWithoutOriginsThereIsNoCORS(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, nil)
	resp, text := h.do(t, "OPTIONS", chatPath, "", "Origin", "https://a.example", "Access-Control-Request-Method", "POST")
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" || !strings.HasPrefix(text, `{"error":`) {
		t.Errorf("a preflight is %d, Allow %q, %s", resp.StatusCode, resp.Header.Get("Allow"), text)
	}
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			t.Errorf("the answer has %s", name)
		}
	}
}

// A preflight carries no key; the refusal of what follows it without one can be read by the page.
func TestPreflightNeedsNoKey(t *testing.T) {
	const page = "https://chat.example.com"
	h := startWith(t, failing(errors.New("called")), oneModel, keyring(t, ""), func(c *Config) { c.CORSOrigins = []string{page} })
	for method, want := range map[string]int{"OPTIONS": http.StatusNoContent, "POST": http.StatusUnauthorized} {
		resp, _ := h.do(t, method, chatPath, "", "Origin", page, "Access-Control-Request-Method", "POST")
		if resp.StatusCode != want || resp.Header.Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s without a key is %d for %q, want %d for the page", method, resp.StatusCode, resp.Header.Get("Access-Control-Allow-Origin"), want)
		}
	}
}
