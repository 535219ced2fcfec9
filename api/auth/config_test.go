package auth

import (
	"fmt"
	"strings"
	"testing"
)

func TestOpenServersAreOnLoopbackOrOnPurpose(t *testing.T) {
	for listen, local := range map[string]bool{
		"127.0.0.1:8000": true, "127.8.9.1:0": true, "[::1]:8000": true, "localhost:8000": true, "[::ffff:127.0.0.1]:80": true,
		":8000": false, "0.0.0.0:8000": false, "[::]:8000": false, "10.0.0.1:8000": false, "example.com:80": false, "localhost.example.com:80": false, "nonsense": false,
	} {
		if err := (Config{}).CheckOpen(listen); (err == nil) != local {
			t.Errorf("%s without keys: %v", listen, err)
		}
		for _, c := range []Config{{InsecureOpen: true}, {KeysFile: "f"}, {Keys: Secrets{{}}}} {
			if err := c.CheckOpen(listen); err != nil {
				t.Errorf("%s with %+v: %v", listen, c, err)
			}
		}
	}
	err := Config{}.CheckOpen(":8000")
	for _, way := range []string{"--api.keys_file", "BATON_API_KEYS", "--insecure-open", "api.insecure_open", `":8000"`} {
		if !strings.Contains(err.Error(), way) {
			t.Errorf("%v does not name %s", err, way)
		}
	}
}

func TestSecretsKeepDigestsAlone(t *testing.T) {
	var s Secrets
	if err := s.UnmarshalText([]byte(" " + acmeKey + ", " + otherKey + "\n")); err != nil {
		t.Fatal(err)
	}
	if len(s) != 2 || s[0] != DigestOf(acmeKey) || s[1] != DigestOf(otherKey) {
		t.Errorf("secrets are %v", s)
	}
	if text, _ := s.MarshalText(); strings.Contains(string(text), acmeKey) || strings.Contains(fmt.Sprintf("%v %+v", s, s), acmeKey) {
		t.Errorf("secrets read %s, %v", text, s)
	}
	for _, bad := range []string{"short", strings.Repeat("k", maxKey+1), acmeKey + "é"} {
		if err := s.UnmarshalText([]byte(bad)); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("a bad key: %v, want an error that does not repeat it", err)
		}
	}
	if err := s.UnmarshalText([]byte(" ,")); err != nil || len(s) != 0 {
		t.Errorf("no keys are %v, %v", s, err)
	}
}

func TestGeneratedKeysAreGoodAndDiffer(t *testing.T) {
	a, b := Generate(), Generate()
	if err := CheckKey(a); err != nil || a == b || !strings.HasPrefix(a, "baton-") || len(a) != len("baton-")+32 {
		t.Errorf("keys are %s and %s, %v", a, b, err)
	}
	if d, err := parseDigest(DigestOf(a).String()); err != nil || d != DigestOf(a) {
		t.Errorf("the digest reads back as %v, %v", d, err)
	}
}
