package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/baton-llm/baton/internal/wire"
)

// maxFile bounds what a poll reads, bytes; it is room for some ten thousand keys.
const maxFile = 4 << 20

var saneName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// entry is one element of the file's list keys.
type entry struct {
	Name     string   `yaml:"name"`
	Hash     string   `yaml:"hash"`
	Class    string   `yaml:"class,omitempty"`
	Models   []string `yaml:"models,omitempty"`
	Limits   *bounds  `yaml:"limits,omitempty"`
	Disabled bool     `yaml:"disabled,omitempty"`
	Expires  string   `yaml:"expires,omitempty"`

	line int
}

// UnmarshalYAML keeps the line.
func (e *entry) UnmarshalYAML(node ast.Node) error {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		return fault(line(node), errors.New("an entry of keys is not a mapping with name and hash"))
	}
	type members entry
	if err := yaml.NodeToValue(node, (*members)(e), yaml.Strict()); err != nil {
		return err
	}
	e.line = line(node)
	if first := mapping.MapRange(); first.Next() {
		e.line = line(first.Key())
	}
	return nil
}

// count is a whole number. Left alone, the YAML package makes 0 of 0.5: no limit at all.
type count int

func (c *count) UnmarshalYAML(node ast.Node) error {
	if node.Type() != ast.IntegerType {
		return fault(line(node), errors.New("a limit is a whole number, such as 60"))
	}
	return yaml.NodeToValue(node, (*int)(c))
}

// plain refuses what a keys file needs not have. Tags, anchors and aliases: on some that are out of
// place, the YAML package panics. Values that were left out: a list of models whose every line is
// commented out must not read as one that was never there.
func plain(root ast.Node) error {
	var visit visitor
	ast.Walk(&visit, root)
	return visit.fault
}

// visitor keeps the first fault.
type visitor struct{ fault error }

func (v *visitor) Visit(node ast.Node) ast.Visitor {
	if v.fault != nil {
		return nil
	}
	switch n := node.(type) {
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		v.fault = fault(line(node), errors.New("tags, anchors and aliases are not allowed in a keys file"))
	case *ast.MappingValueNode:
		if n.Value.Type() == ast.NullType {
			v.fault = fault(line(n.Key), fmt.Errorf("%s has no value", n.Key.GetToken().Value))
		}
	}
	return v
}

func line(node ast.Node) int {
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// located is a fault with its place. It does not show the line: that may hold a key in plain text.
type located struct {
	line int
	err  error
}

func (l *located) Error() string { return fmt.Sprintf("line %d: %v", l.line, l.err) }
func (l *located) Unwrap() error { return l.err }

func fault(line int, err error) error { return &located{line, err} }

// place gives an error of the YAML package its line, in our form.
func place(err error) error {
	var at *located
	var kind *yaml.TypeError
	var known yaml.Error
	switch {
	case errors.As(err, &at):
		return at
	case errors.As(err, &kind) && kind.Token != nil && kind.Token.Position != nil:
		return fault(kind.Token.Position.Line, fmt.Errorf("a %s, want a %s", kind.SrcType, kind.DstType))
	case errors.As(err, &known) && known.GetToken() != nil && known.GetToken().Position != nil:
		return fault(known.GetToken().Position.Line, errors.New(known.GetMessage()))
	}
	return err
}

// readFile reads a keys file, or refuses what is none.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return text, err
}

// parse reads the text of a keys file strictly. A file without a key is a fault, too: it is what a
// program that writes it leaves for a moment. To shut everyone out, disable the keys.
func parse(text []byte) ([]*Key, map[string]bounds, error) {
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, nil, place(err)
	}
	var file struct {
		Keys []entry `yaml:"keys"`
	}
	bodies := 0
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if bodies++; bodies > 1 {
			return nil, nil, fault(line(doc.Body), errors.New("a second document, want one"))
		}
		if err := plain(doc.Body); err != nil {
			return nil, nil, err
		}
		if err := yaml.NodeToValue(doc.Body, &file, yaml.Strict()); err != nil {
			return nil, nil, place(err)
		}
	}
	if len(file.Keys) == 0 {
		return nil, nil, errors.New("it holds no key, want a list called keys")
	}
	return check(file.Keys)
}

// check makes keys of entries and reports every fault.
func check(entries []entry) (keys []*Key, limits map[string]bounds, err error) {
	limits = make(map[string]bounds)
	stated, seen := make(map[string]int), make(map[Digest]int) // lines
	for _, e := range entries {
		if e.line == 0 { // of which the YAML package says nothing
			err = errors.Join(err, errors.New("an entry of keys is empty"))
			continue
		}
		key, faults := e.key()
		if before, again := seen[key.digest]; again {
			faults = errors.Join(faults, fmt.Errorf("hash is also that of the key in line %d", before))
		}
		seen[key.digest] = e.line
		if e.Limits != nil {
			if before, again := stated[e.Name]; again && limits[e.Name] != *e.Limits {
				faults = errors.Join(faults, fmt.Errorf("limits differ from those in line %d; all keys of %q share one set", before, e.Name))
			}
			stated[e.Name], limits[e.Name] = e.line, *e.Limits
		}
		if faults != nil {
			err = errors.Join(err, fault(e.line, faults))
		}
		keys = append(keys, key)
	}
	if err != nil {
		return nil, nil, err
	}
	return keys, limits, nil
}

// key is never nil, even if the entry has faults.
func (e *entry) key() (*Key, error) {
	k := &Key{Name: e.Name, models: e.Models, disabled: e.Disabled}
	var faults []error
	add := func(err error) { faults = append(faults, err) }
	if !saneName.MatchString(e.Name) {
		add(fmt.Errorf("name is %q, want 1 to 64 letters, digits, dots, dashes and underscores", e.Name))
	}
	var err error
	k.digest, err = parseDigest(e.Hash)
	add(err)
	if e.Class != "" {
		k.Class, err = wire.ParseClass(e.Class)
		add(err)
	}
	if e.Models != nil && (len(e.Models) == 0 || slices.Contains(e.Models, "")) {
		add(errors.New("models is empty or has an empty name; leave it out to allow every model"))
	}
	if e.Limits != nil {
		add(e.Limits.check())
	}
	if e.Expires != "" {
		k.expires, err = parseExpiry(e.Expires)
		add(err)
	}
	return k, errors.Join(faults...)
}

// parseExpiry takes a date as its beginning in UTC.
func parseExpiry(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("expires is %q, want a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z", text)
}
