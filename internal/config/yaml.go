package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// yamlFile walks one file against the leaves.
type yamlFile struct {
	name    string
	leaves  []Leaf
	sources Sources
	excerpt bool // faults show the lines around them
	faults  []error
}

func loadYAML(leaves []Leaf, sources Sources, name string, text []byte) error {
	f := &yamlFile{name: name, leaves: leaves, sources: sources, excerpt: !holdsSecret(leaves, text)}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return fmt.Errorf("%s: %s", name, yaml.FormatError(err, false, f.excerpt))
	}
	bodies := 0
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if bodies++; bodies > 1 {
			f.fault(doc.Body.GetToken(), "a second document, want one")
			break
		}
		f.group(doc.Body, "")
	}
	return errors.Join(f.faults...)
}

// holdsSecret tells whether the text names a secret, though it may not be YAML.
func holdsSecret(leaves []Leaf, text []byte) bool {
	return slices.ContainsFunc(leaves, func(l Leaf) bool {
		key := regexp.QuoteMeta(l.Path[strings.LastIndexByte(l.Path, '.')+1:])
		return l.Secret && regexp.MustCompile(`(?m)(^|[\s{,"'])`+key+`["']?\s*:`).Match(text)
	})
}

func (f *yamlFile) fault(at *token.Token, format string, args ...any) {
	text := yaml.FormatErrorWithToken(fmt.Sprintf(format, args...), at, false, f.excerpt)
	f.faults = append(f.faults, fmt.Errorf("%s: %s", f.name, text))
}

// group reads a mapping; prefix is "" or ends in a dot.
func (f *yamlFile) group(node ast.Node, prefix string) {
	if node.Type() == ast.NullType {
		return // a section with everything commented out
	}
	mapping, ok := node.(ast.MapNode)
	if !ok {
		f.fault(node.GetToken(), "%s is a section, want its keys below it: %s",
			cmp.Or(strings.TrimSuffix(prefix, "."), "the file"), strings.Join(f.keys(prefix), ", "))
		return
	}
	for entries := mapping.MapRange(); entries.Next(); {
		key, value := entries.Key().GetToken(), entries.Value()
		path := prefix + key.Value
		at := slices.IndexFunc(f.leaves, func(l Leaf) bool { return l.Path == path })
		switch {
		case at >= 0:
			f.leaf(f.leaves[at], value)
			f.sources[path] = f.name + ":" + strconv.Itoa(key.Position.Line)
		case slices.ContainsFunc(f.leaves, func(l Leaf) bool { return strings.HasPrefix(l.Path, path+".") }):
			f.group(value, path+".")
		default:
			f.fault(key, "unknown key %s%s", path, suggest(key.Value, f.keys(prefix)))
		}
	}
}

// keys lists what may stand directly below prefix.
func (f *yamlFile) keys(prefix string) []string {
	var keys []string
	for _, leaf := range f.leaves {
		if rest, ok := strings.CutPrefix(leaf.Path, prefix); ok {
			key, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func (f *yamlFile) leaf(leaf Leaf, node ast.Node) {
	if leaf.Kind == List {
		f.list(leaf, node)
		return
	}
	text, ok := scalar(leaf.Kind, node)
	if !ok {
		f.fault(node.GetToken(), "%s: want %s", leaf.Path, leaf.Kind.form())
		return
	}
	if err := leaf.set(text); err != nil {
		f.fault(node.GetToken(), "%s: %v", leaf.Path, err)
	}
}

func (f *yamlFile) list(leaf Leaf, node ast.Node) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		f.fault(node.GetToken(), "%s: want a list of strings, such as [a, b]", leaf.Path)
		return
	}
	items := make([]string, 0, len(sequence.Values))
	for _, value := range sequence.Values {
		item, ok := scalar(String, value)
		if !ok {
			f.fault(value.GetToken(), "%s: want a string (quote it)", leaf.Path)
			return
		}
		items = append(items, item)
	}
	leaf.setList(items)
}

// scalar is the node's text, if YAML gives it the type that the kind needs: a quoted number is no
// number, and a bare number no string.
func scalar(kind Kind, node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, kind == String || kind == Text || kind == Duration
	case *ast.LiteralNode:
		return n.Value.Value, kind == String || kind == Text
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value), kind == Bool
	case *ast.IntegerNode:
		if kind == Duration {
			return n.Token.Value, true // set says that the unit is missing
		}
		return fmt.Sprint(n.Value), kind == Int || kind == Uint || kind == Float
	case *ast.FloatNode:
		return n.Token.Value, kind == Float
	default:
		return "", false
	}
}

// Print writes the settings of dst as YAML that Load reads, with the origin of each value, as
// sources has it, in a comment. Secrets are left out.
func Print(w io.Writer, dst any, sources Sources) error {
	var out strings.Builder
	var open []string // the sections that the last leaf was in
	for _, leaf := range Leaves(dst) {
		parts := strings.Split(leaf.Path, ".")
		sections, key := parts[:len(parts)-1], parts[len(parts)-1]
		shared := 0
		for shared < len(open) && shared < len(sections) && open[shared] == sections[shared] {
			shared++
		}
		for depth := shared; depth < len(sections); depth++ {
			fmt.Fprintf(&out, "%s%s:\n", strings.Repeat("  ", depth), sections[depth])
		}
		open = sections
		indent := strings.Repeat("  ", len(sections))
		origin := cmp.Or(sources[leaf.Path], "default")
		if leaf.Secret && leaf.Value != "" {
			fmt.Fprintf(&out, "%s# %s is set but not shown  # %s\n", indent, key, origin)
			continue
		}
		fmt.Fprintf(&out, "%s%s: %s  # %s\n", indent, key, leaf.yaml(), origin)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (l Leaf) yaml() string {
	switch l.Kind {
	case String, Text:
		return strconv.Quote(l.Value)
	case List:
		items := l.list()
		for i := range items {
			items[i] = strconv.Quote(items[i])
		}
		return "[" + strings.Join(items, ", ") + "]"
	case Bool, Int, Uint, Float, Duration:
		return l.Value
	default:
		return l.Value
	}
}
