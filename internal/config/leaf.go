package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Kind is the form of a leaf's value.
type Kind string

// The kinds of leaves.
const (
	String   Kind = "string"
	Bool     Kind = "bool"
	Int      Kind = "int"
	Uint     Kind = "uint"
	Float    Kind = "float"
	Duration Kind = "duration"
	List     Kind = "list" // of strings; separated by commas in flags and variables
	Text     Kind = "text" // the type reads its own text
)

// Leaf is one setting of a configuration.
type Leaf struct {
	Path   string // prefill.slots
	Env    string // BATON_PREFILL_SLOTS
	Flag   string // --prefill.slots
	Help   string
	Value  string // the present one, in the form that a flag takes
	Kind   Kind
	Secret bool // Value is not for eyes or logs

	field reflect.Value // settable
}

// Leaves lists the settings of the struct that dst points to, in the order of its fields. It
// panics when dst is no pointer to a struct, when a tagged field has a type that no flag can
// express, or when two fields have the same path or variable: those are faults of the program.
func Leaves(dst any) []Leaf {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: %T is not a pointer to a struct", dst))
	}
	leaves := appendLeaves(nil, v.Elem(), "")
	seen := make(map[string]string, len(leaves))
	for _, leaf := range leaves {
		if other, dup := seen[leaf.Env]; dup {
			panic(fmt.Sprintf("config: %s and %s share %s", other, leaf.Path, leaf.Env))
		}
		seen[leaf.Env] = leaf.Path
	}
	return leaves
}

func appendLeaves(leaves []Leaf, v reflect.Value, prefix string) []Leaf {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		tag, tagged := field.Tag.Lookup("yaml")
		name, option, _ := strings.Cut(tag, ",")
		if !tagged || !field.IsExported() || name == "-" {
			continue
		}
		path := prefix + name
		kind, isLeaf := kindOf(field.Type)
		switch {
		case isLeaf && name != "":
			leaf := Leaf{
				Path: path, Env: envName(path), Flag: "--" + path,
				Help: field.Tag.Get("help"), Kind: kind, Secret: field.Tag.Get("secret") == "true",
				field: v.Field(i),
			}
			leaf.Value = leaf.text()
			leaves = append(leaves, leaf)
		case field.Type.Kind() == reflect.Struct && option == "inline":
			leaves = appendLeaves(leaves, v.Field(i), prefix)
		case field.Type.Kind() == reflect.Struct && name != "":
			leaves = appendLeaves(leaves, v.Field(i), path+".")
		default:
			panic(fmt.Sprintf("config: field %s %s with yaml tag %q cannot be a setting", field.Name, field.Type, tag))
		}
	}
	return leaves
}

func envName(path string) string {
	return "BATON_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

var (
	durationType        = reflect.TypeFor[time.Duration]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func kindOf(t reflect.Type) (Kind, bool) {
	switch {
	case t == durationType:
		return Duration, true
	case reflect.PointerTo(t).Implements(textUnmarshalerType):
		return Text, true
	case t.Kind() == reflect.String:
		return String, true
	case t.Kind() == reflect.Bool:
		return Bool, true
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		return Int, true
	case reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uint64:
		return Uint, true
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return Float, true
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return List, true
	default:
		return "", false
	}
}

// form says what a value of the kind looks like.
func (k Kind) form() string {
	switch k {
	case Bool:
		return "true or false"
	case Int:
		return "a whole number, such as 8"
	case Uint:
		return "a whole number of 0 or more, such as 8"
	case Float:
		return "a number, such as 0.5"
	case Duration:
		return "a duration with its unit, such as 30s or 1m30s"
	case List:
		return "a list of strings, such as a,b"
	case String, Text:
		return "a string"
	default:
		return string(k)
	}
}

// text is the leaf's present value, in the form that set takes.
func (l Leaf) text() string {
	switch l.Kind {
	case List:
		return strings.Join(l.list(), ",")
	case Text:
		if m, ok := l.field.Addr().Interface().(encoding.TextMarshaler); ok {
			if text, err := m.MarshalText(); err == nil {
				return string(text)
			}
		}
		return fmt.Sprint(l.field.Interface())
	case Float:
		return strconv.FormatFloat(l.field.Float(), 'g', -1, l.field.Type().Bits())
	case String, Bool, Int, Uint, Duration:
		return fmt.Sprint(l.field.Interface())
	default:
		return fmt.Sprint(l.field.Interface())
	}
}

func (l Leaf) list() []string {
	items := make([]string, 0, l.field.Len())
	for i := range l.field.Len() {
		items = append(items, l.field.Index(i).String())
	}
	return items
}

func (l Leaf) setList(items []string) {
	list := reflect.MakeSlice(l.field.Type(), len(items), len(items))
	for i, item := range items {
		list.Index(i).SetString(item)
	}
	l.field.Set(list)
}

// set reads the text of a flag or variable. The error says what is wanted, not where.
func (l Leaf) set(text string) error {
	bad := func(err error) error {
		got := strconv.Quote(text)
		if l.Secret {
			got = "a hidden value"
		}
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("got %s, which does not fit %s", got, l.field.Type())
		}
		if l.Kind == Text {
			return fmt.Errorf("got %s: %w", got, err)
		}
		return fmt.Errorf("got %s, want %s", got, l.Kind.form())
	}
	var err error
	switch l.Kind {
	case String:
		l.field.SetString(text)
	case Bool:
		if text != "true" && text != "false" {
			return bad(nil)
		}
		l.field.SetBool(text == "true")
	case Int:
		var n int64
		if n, err = strconv.ParseInt(text, 10, l.field.Type().Bits()); err == nil {
			l.field.SetInt(n)
		}
	case Uint:
		var n uint64
		if n, err = strconv.ParseUint(text, 10, l.field.Type().Bits()); err == nil {
			l.field.SetUint(n)
		}
	case Float:
		var x float64
		if x, err = strconv.ParseFloat(text, l.field.Type().Bits()); err == nil {
			l.field.SetFloat(x)
		}
	case Duration:
		var d time.Duration
		if d, err = time.ParseDuration(text); err == nil {
			l.field.SetInt(int64(d))
		}
	case List:
		l.setList(splitList(text))
	case Text:
		err = l.field.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	if err != nil {
		return bad(err)
	}
	return nil
}

// splitList reads a,b: blanks around an item do not count, an empty text is an empty list.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}
