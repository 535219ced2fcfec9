package auth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestPresentedKeys(t *testing.T) {
	for _, c := range []struct {
		name      string
		header    http.Header
		anthropic bool
		want      string
		err       error
	}{
		{"none", http.Header{}, true, "", ErrNoKey},
		{"bearer", http.Header{"Authorization": {"Bearer k"}}, false, "k", nil},
		{"any case", http.Header{"Authorization": {"bEARER k"}}, false, "k", nil},
		{"blanks", http.Header{"Authorization": {"Bearer   k "}}, false, "k", nil},
		{"basic", http.Header{"Authorization": {"Basic k"}}, false, "", ErrMalformed},
		{"no scheme", http.Header{"Authorization": {"k"}}, false, "", ErrMalformed},
		{"no key", http.Header{"Authorization": {"Bearer"}}, false, "", ErrMalformed},
		{"two words", http.Header{"Authorization": {"Bearer k k"}}, false, "", ErrMalformed},
		{"two headers", http.Header{"Authorization": {"Bearer k", "Bearer k"}}, false, "", ErrMalformed},
		{"too long", http.Header{"Authorization": {"Bearer " + strings.Repeat("k", maxKey+1)}}, false, "", ErrMalformed},
		{"not ASCII", http.Header{"Authorization": {"Bearer ké"}}, false, "", ErrMalformed},
		{"anthropic", http.Header{"X-Api-Key": {"k"}}, true, "k", nil},
		{"anthropic elsewhere", http.Header{"X-Api-Key": {"k"}}, false, "", ErrNoKey},
		{"anthropic twice", http.Header{"X-Api-Key": {"k", "k"}}, true, "", ErrMalformed},
		{"both", http.Header{"Authorization": {"Bearer a"}, "X-Api-Key": {"b"}}, true, "a", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Presented(c.header, c.anthropic); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("Presented = %q, %v, want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func FuzzPresented(f *testing.F) {
	for _, value := range []string{"", "Bearer", "Bearer k", "bearer  k ", "Basic YTpi", "Bearer\tk", "Bearer k\x00", "Bearer ké"} {
		f.Add(value, "", false)
		f.Add("", value, true)
	}
	f.Fuzz(func(t *testing.T, authorization, own string, anthropic bool) {
		h := http.Header{}
		if authorization != "" {
			h.Set("Authorization", authorization)
		}
		if own != "" {
			h.Set("X-Api-Key", own)
		}
		key, err := Presented(h, anthropic)
		switch {
		case err != nil && key != "":
			t.Errorf("%q with %v", key, err)
		case err == nil && (key == "" || len(key) > maxKey || !visible(key)):
			t.Errorf("%q is no key", key)
		case err == nil && authorization != "" && !strings.HasSuffix(strings.TrimRight(authorization, " "), " "+key):
			t.Errorf("%q is not what %q presents", key, authorization)
		}
	})
}
