package auth

import (
	"os"
	"strings"
	"testing"
)

func TestFaultsOfTheFile(t *testing.T) {
	const good = "keys:\n  - name: a\n    hash: ACME\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "holds no key"},
		{"no keys", "keys: []\n", "holds no key"},
		{"another key", "key: []\n", `line 1: unknown field "key"`},
		{"no list", "keys: acme\n", "line 1: "},
		{"an entry that is none", "keys:\n  - acme\n", "line 2: an entry of keys is not a mapping"},
		{"an empty entry", "keys:\n  -\n", "an entry of keys is empty"},
		{"syntax", "keys:\n  - name: [a\n", "line 2: "},
		{"two documents", good + "---\nkeys: []\n", "line 5: a second document"},
		{"an unknown member", good + "    limit: {}\n", `line 4: unknown field "limit"`},
		{"an unknown limit", good + "    limits: {tokens: 1}\n", `line 4: unknown field "tokens"`},
		{"a limit that is a fraction", good + "    limits: {concurrent: 0.5}\n", "line 4: a limit is a whole number"},
		{"a limit that is a text", good + "    limits: {concurrent: '5'}\n", "line 4: a limit is a whole number"},
		{"a limit that overflows", good + "    limits: {concurrent: 99999999999999999999}\n", "line 4: "},
		{"a limit below 0", good + "    limits: {concurrent: -1}\n", "line 2: limits.concurrent is -1, want 0 (none) to 1000000000"},
		{"a switch that is a text", good + "    disabled: 'true'\n", "line 4: a string, want a bool"},
		{"a member twice", good + "    name: b\n", "line 4: "},
		{"models left out", good + "    models:\n    # - small\n", "line 4: models has no value"},
		{"limits left out", good + "    limits:\n      concurrent:\n", "line 5: concurrent has no value"},
		{"a tag", good + "    models: !x\n", "line 4: tags, anchors and aliases are not allowed"},
		{"an alias", "keys:\n  - &a {name: a, hash: ACME}\n  - *a\n", "line 2: tags, anchors and aliases are not allowed"},
		{"no models", good + "    models: []\n", "line 2: models is empty"},
		{"a model without a name", good + "    models: [a, null]\n", "line 2: models is empty or has an empty name"},
		{"no name", "keys:\n  - hash: ACME\n", `line 2: name is ""`},
		{"a bad name", "keys:\n  - {name: 'a b', hash: ACME}\n", `line 2: name is "a b"`},
		{"no hash", "keys:\n  - name: a\n", "line 2: hash is not sha256:"},
		{"a short hash", "keys:\n  - {name: a, hash: 'sha256:00'}\n", "line 2: hash is not sha256:"},
		{"a hash of other digits", "keys:\n  - {name: a, hash: 'sha256:" + strings.Repeat("zz", 32) + "'}\n", "line 2: hash is not all hexadecimal"},
		{"a bad class", good + "    class: urgent\n", `line 2: class "urgent" is unknown`},
		{"a bad time", good + "    expires: tomorrow\n", `line 2: expires is "tomorrow"`},
		{"a key twice", good + "  - name: b\n    hash: ACME\n", "line 4: hash is also that of the key in line 2"},
		{
			"limits that differ", good + "    limits: {concurrent: 1}\n  - name: a\n    hash: OTHER\n    limits: {concurrent: 2}\n",
			"line 5: limits differ from those in line 2",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := parse([]byte(hashes(c.text)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("parse = %v, want %q", err, c.want)
			}
		})
	}
}

func TestAPlainKeyInTheFileIsNotRepeated(t *testing.T) {
	for _, text := range []string{
		"keys:\n  - {name: a, hash: " + acmeKey + "}\n",
		"keys:\n  - {name: a, hash: " + acmeKey + ", x: y}\n",
		"keys:\n  - name: a\n    hash: " + acmeKey + "\n   x: [\n",
		"keys:\n  - " + acmeKey + "\n",
	} {
		if _, _, err := parse([]byte(text)); err == nil || strings.Contains(err.Error(), acmeKey) {
			t.Errorf("parse = %v, want an error without the key", err)
		}
	}
}

func TestAppendedEntriesWork(t *testing.T) {
	for name, old := range map[string]string{
		"no file":     "",
		"comments":    "# ours\nkeys:\n  - name: a # the first\n    hash: ACME\n",
		"no newline":  "keys:\n- name: a\n  hash: ACME",
		"deep":        "keys:\n      - name: a\n        hash: ACME\n\n# the end\n",
		"the same":    "keys:\n- {name: '007', hash: ACME, limits: {concurrent: 1}}\n",
		"a blank one": "\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := t.TempDir() + "/keys.yaml"
			if old != "" {
				rewrite(t, file, old)
			}
			entry, err := Entry("007", "batch", DigestOf(batchKey))
			if err != nil {
				t.Fatal(err)
			}
			if err := Append(file, entry); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil || !strings.HasPrefix(string(text), hashes(old)) {
				t.Errorf("the file is now %q, %v", text, err)
			}
			keys, _, err := parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if last := keys[len(keys)-1]; last.Name != "007" || last.digest != DigestOf(batchKey) || last.Class.String() != "batch" {
				t.Errorf("the new key is %+v", last)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file's mode is %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestAppendLeavesAFileItCannotExtend(t *testing.T) {
	for name, old := range map[string]string{
		"broken":       "keys:\n  - name: a\n",
		"one line":     "keys: [{name: a, hash: ACME}]\n",
		"the same key": "keys:\n  - name: a\n    hash: BATCH\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := keysFile(t, old)
			entry, err := Entry("b", "", DigestOf(batchKey))
			if err != nil {
				t.Fatal(err)
			}
			if err := Append(file, entry); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("Append = %v, want an error that names the file", err)
			}
			if text, _ := os.ReadFile(file); string(text) != hashes(old) {
				t.Errorf("the file is now %q", text)
			}
		})
	}
}

func TestEntryRefusesWhatTheFileWould(t *testing.T) {
	for _, c := range [][2]string{{"a b", ""}, {"", ""}, {"a", "urgent"}} {
		if _, err := Entry(c[0], c[1], DigestOf(acmeKey)); err == nil {
			t.Errorf("name %q, class %q: no error", c[0], c[1])
		}
	}
}

// A file is read without a panic, and what is read keeps the promises of the package.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "keys:\n  -\n", "keys: [{}]", "keys: &a [*a]", "keys:\n  - <<: {name: a}\n", "a: {", "---\n---\n", "keys:\n  - &a {name: a}\n  - *a\n",
		"# all\nkeys:\n  - name: acme\n    hash: ACME\n    class: batch\n    models: [a, b]\n    limits: {requests_per_minute: 1, tokens_per_minute: 2, concurrent: 3}\n" +
			"    disabled: false\n    expires: 2030-01-02T03:04:05Z\n  - {name: acme, hash: OTHER}\n",
	} {
		f.Add([]byte(hashes(text)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, limits, err := parse(text)
		if err != nil {
			return
		}
		digests := map[Digest]bool{}
		for _, k := range keys {
			if !saneName.MatchString(k.Name) || digests[k.digest] || (k.models != nil && len(k.models) == 0) || limits[k.Name].check() != nil {
				t.Errorf("key %+v with limits %+v was let through", k, limits[k.Name])
			}
			digests[k.digest] = true
		}
		if len(keys) == 0 {
			t.Error("a file without a key was let through")
		}
	})
}
