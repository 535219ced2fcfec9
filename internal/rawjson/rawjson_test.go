package rawjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/baton-llm/baton/internal/rawjson"
)

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("é", 1000)
	deep := strings.Repeat("[", rawjson.MaxDepth) + strings.Repeat("]", rawjson.MaxDepth)
	for name, tc := range map[string]struct {
		body string
		want error
	}{
		"empty":                 {"", nil},
		"only space":            {" \n", nil},
		"array":                 {"[]", nil},
		"open object":           {`{"a":1`, nil},
		"open string":           {`{"a":"x`, nil},
		"trailing comma":        {`{"a":1,}`, nil},
		"two objects":           {`{} {}`, nil},
		"trailing garbage":      {`{}x`, nil},
		"byte order mark":       {"\ufeff{}", nil},
		"invalid UTF-8":         {"{\"a\":\"\xff\"}", nil},
		"NaN":                   {`{"a":NaN}`, nil},
		"leading zero":          {`{"a":01}`, nil},
		"control in string":     {"{\"a\":\"\n\"}", nil},
		"duplicate":             {`{"a":1,"a":1}`, rawjson.ErrDuplicate},
		"duplicate by escape":   {`{"a":1,"\u0061":1}`, rawjson.ErrDuplicate},
		"long duplicate":        {`{"` + long + `":1,"` + long + `":1}`, rawjson.ErrDuplicate},
		"duplicate deep inside": {`{"a":[{"b":{"c":1,"c":2}}]}`, rawjson.ErrDuplicate},
		"too deep":              {`{"a":` + deep + `}`, rawjson.ErrDepth},
		"very deep and open":    {strings.Repeat(`{"a":`, 1e6), rawjson.ErrDepth},
		"too many members":      {`{"a":[` + strings.Repeat(`{"":0},`, rawjson.MaxMembers) + `0]}`, rawjson.ErrMembers},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rawjson.Parse([]byte(tc.body))
			var syntax *rawjson.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse = %v, want a SyntaxError", err)
			}
			if syntax.Offset < 0 || syntax.Offset > int64(len(tc.body)) {
				t.Errorf("offset %d lies outside of the body", syntax.Offset)
			}
			if len(syntax.Error()) > 500 {
				t.Errorf("the message has %d bytes", len(syntax.Error()))
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("Parse = %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := rawjson.Parse([]byte(`{"a":` + deep[1:len(deep)-1] + `}`)); err != nil {
		t.Errorf("Parse at MaxDepth = %v", err)
	}
	if _, err := rawjson.Parse([]byte(`{"a":"` + deep + deep + `\"[{"}`)); err != nil {
		t.Errorf("brackets in a string count as depth: %v", err)
	}
	if _, err := rawjson.Parse([]byte(`{"a":"` + strings.Repeat(":", rawjson.MaxMembers) + `"}`)); err != nil {
		t.Errorf("colons in a string count as members: %v", err)
	}
}

func TestGet(t *testing.T) {
	o, err := rawjson.Parse([]byte(` { "s" : "\u00e9<" , "i":9007199254740993, "f":5.0,"e":1e3,"big":9223372036854775808,"b":true,"z":null,"o":{"x":-1},"a":[ 1, "2" ,[]],"\u0078":1 } `))
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) rawjson.Value { v, _ := o.Get(name); return v }
	if s, err := get("s").String(); s != "é<" || err != nil {
		t.Errorf("String = %q, %v", s, err)
	}
	if n, err := get("i").Int64(); n != 9007199254740993 || err != nil {
		t.Errorf("Int64 = %d, %v", n, err)
	}
	for _, name := range []string{"f", "e", "big"} {
		if _, err := get(name).Int64(); !errors.Is(err, rawjson.ErrNotInt) {
			t.Errorf("Int64 of %s = %v, want ErrNotInt", get(name), err)
		}
	}
	if b, err := get("b").Bool(); !b || err != nil {
		t.Errorf("Bool = %v, %v", b, err)
	}
	in, err := get("o").Object()
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := in.Get("x"); string(v) != "-1" {
		t.Errorf("x = %s", v)
	}
	var elems []string
	for v, err := range get("a").Array() {
		if err != nil {
			t.Fatal(err)
		}
		elems = append(elems, string(v))
	}
	if want := []string{"1", `"2"`, "[]"}; !slices.Equal(elems, want) {
		t.Errorf("Array = %q, want %q", elems, want)
	}
	if got, want := slices.Collect(o.Names()), []string{"s", "i", "f", "e", "big", "b", "z", "o", "a", "x"}; !slices.Equal(got, want) {
		t.Errorf("Names = %q, want %q", got, want)
	}
	if _, ok := o.Get("absent"); ok || get("absent").Kind() != rawjson.KindInvalid {
		t.Error("an absent member was found")
	}
	for name, want := range map[string]rawjson.Kind{"s": rawjson.KindString, "i": rawjson.KindNumber, "b": rawjson.KindBool, "z": rawjson.KindNull, "o": rawjson.KindObject, "a": rawjson.KindArray} {
		if got := get(name).Kind(); got != want {
			t.Errorf("Kind of %s = %d, want %d", name, got, want)
		}
	}
}

func TestReadersRefuseOtherKinds(t *testing.T) {
	for _, v := range []rawjson.Value{nil, rawjson.Value("null")} {
		_, e1 := v.String()
		_, e2 := v.Int64()
		_, e3 := v.Bool()
		_, e4 := v.Object()
		var e5 error
		for _, err := range v.Array() {
			e5 = err
		}
		for i, err := range []error{e1, e2, e3, e4, e5} {
			if !errors.Is(err, rawjson.ErrKind) {
				t.Errorf("reader %d of %q = %v, want ErrKind", i, v, err)
			}
		}
	}
}

func TestEdit(t *testing.T) {
	set, del := func(n, v string) rawjson.Edit { return rawjson.Set(n, []byte(v)) }, rawjson.Delete
	for name, tc := range map[string]struct {
		body  string
		edits []rawjson.Edit
		want  string
	}{
		"nothing":              {` {"a" : 1 } `, nil, ` {"a" : 1 } `},
		"replace keeps spaces": {`{ "a" :  1 ,"b":2}`, []rawjson.Edit{set("a", "true")}, `{ "a" :  true ,"b":2}`},
		"append":               {"{\"a\":1\n}\r\n", []rawjson.Edit{set("b", "2"), set("c", "3")}, "{\"a\":1,\"b\":2,\"c\":3\n}\r\n"},
		"append to empty":      {`{ }`, []rawjson.Edit{set("b", "2"), set("c", "3")}, `{"b":2,"c":3 }`},
		"delete first":         {`{ "a":1, "b":2}`, []rawjson.Edit{del("a")}, `{ "b":2}`},
		"delete middle":        {`{"a":1, "b":2 ,"c":3}`, []rawjson.Edit{del("b")}, `{"a":1, "c":3}`},
		"delete last":          {`{"a":1 , "b":2 }`, []rawjson.Edit{del("b")}, `{"a":1 }`},
		"delete all":           {`{ "a":1, "b":2 }`, []rawjson.Edit{del("a"), del("b")}, `{ }`},
		"delete all and add":   {`{"a":1,"b":2}`, []rawjson.Edit{del("b"), set("c", "3"), del("a")}, `{"c":3}`},
		"delete tail, add":     {`{"a":1,"b":2,"d":4}`, []rawjson.Edit{del("b"), del("d"), set("c", "3")}, `{"a":1,"c":3}`},
		"replace before tail":  {`{"a":1,"b":2,"d":4}`, []rawjson.Edit{set("a", "9"), del("b"), del("d")}, `{"a":9}`},
		"delete absent":        {`{"a":1}`, []rawjson.Edit{del("x")}, `{"a":1}`},
		"last edit counts":     {`{"a":1}`, []rawjson.Edit{set("a", "2"), del("a"), set("b", "1"), set("b", "2"), set("c", "3"), del("c")}, `{"b":2}`},
		"escaped name":         {`{"\u0061":1}`, []rawjson.Edit{set("a", "2")}, `{"\u0061":2}`},
		"name to quote":        {`{}`, []rawjson.Edit{set(`"\`, "2")}, `{"\"\\":2}`},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(tc.body)
			o, err := rawjson.Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			got := o.Edit(tc.edits...)
			if string(got) != tc.want {
				t.Errorf("Edit = %s, want %s", got, tc.want)
			}
			clear(got)
			if string(body) != tc.body {
				t.Error("Edit's result shares memory with the body")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"b":[{"c":"\u00e9"}]}`, `{"a":1,"\u0061":2}`, " {\"a\" :\t-1.5e3 } ", `{"a":"\ud800"}`, `[]`, `{"a":tru}`, `{"a":[ [1, "]"] ,{"b":[]}, "\\\"," ],"c":{ }, "d" : [ ] } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		o, err := rawjson.Parse(body)
		again, errAgain := rawjson.Reparse(body) // of what Parse does not take it may do anything but end badly
		if !bytes.Equal(kept, body) {
			t.Fatal("Parse or Reparse changed the body")
		}
		if err == nil {
			if errAgain != nil {
				t.Fatalf("Reparse of %q: %v", body, errAgain)
			}
			alike(t, o, again)
		}
		var members map[string]json.RawMessage
		valid := json.Unmarshal(body, &members) == nil && members != nil
		switch {
		case err == nil && !valid:
			t.Errorf("Parse takes %q, encoding/json does not", body)
		case err != nil && valid && utf8.Valid(body) && !errors.Is(err, rawjson.ErrDuplicate) && !errors.Is(err, rawjson.ErrDepth) && !errors.Is(err, rawjson.ErrMembers) &&
			!bytes.Contains(bytes.ToLower(body), []byte(`\ud`)): // half a surrogate pair
			t.Errorf("Parse of %q = %v, encoding/json takes it", body, err)
		}
	})
}

// alike compares what Parse and Reparse made of the same body, and its arrays with what encoding/json makes of them.
func alike(t *testing.T, o, again *rawjson.Object) {
	t.Helper()
	if one, other := slices.Collect(o.Names()), slices.Collect(again.Names()); !slices.Equal(one, other) {
		t.Fatalf("Parse finds %q, Reparse %q", one, other)
	}
	for name := range o.Names() {
		one, _ := o.Get(name)
		other, ok := again.Get(name)
		if !ok || !bytes.Equal(one, other) {
			t.Fatalf("%q is %s to Parse and %s to Reparse", name, one, other)
		}
		switch one.Kind() {
		case rawjson.KindObject:
			inner, err := rawjson.Parse(one)
			if err != nil {
				t.Fatal(err)
			}
			read, err := one.Object()
			if err != nil {
				t.Fatal(err)
			}
			alike(t, inner, read)
		case rawjson.KindArray:
			var want []json.RawMessage
			if err := json.Unmarshal(one, &want); err != nil {
				t.Fatal(err)
			}
			n := 0
			for element, err := range one.Array() {
				if err != nil || n >= len(want) || !bytes.Equal(element, bytes.TrimSpace(want[n])) {
					t.Fatalf("element %d of %s is %s, %v", n, one, element, err)
				}
				n++
			}
			if n != len(want) {
				t.Fatalf("%s has %d elements, want %d", one, n, len(want))
			}
		default: // has nothing inside
		}
	}
}

func TestReparseRefusesWhatIsNoObject(t *testing.T) {
	for _, body := range []string{``, ` `, `[]`, `{`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a":[1}`, `{"a" 1}`, `{a:1}`, `{"a":"b}`, `{"a":1}x`, `{"a":}`, `{}{}`} {
		if _, err := rawjson.Reparse([]byte(body)); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(`{ "a" : 1,"b":[1, 2] ,"c":null}`), "a", "b")
	f.Add([]byte(`{"\u0061":"x"}`), "a", "z")
	f.Add([]byte(` {} `), "", "\x00")
	f.Fuzz(func(t *testing.T, body []byte, set, del string) {
		o, err := rawjson.Parse(body)
		if err != nil || !utf8.ValidString(set) || !utf8.ValidString(del) || set == del {
			return
		}
		old, had := o.Get(set)
		edited, err := rawjson.Parse(o.Edit(rawjson.Set(set, []byte(`{"new":1}`)), rawjson.Delete(del)))
		if err != nil {
			t.Fatalf("Edit made bad JSON: %v", err)
		}
		if v, _ := edited.Get(set); string(v) != `{"new":1}` {
			t.Errorf("%q = %s after Set", set, v)
		}
		if _, ok := edited.Get(del); ok {
			t.Errorf("%q is there after Delete", del)
		}
		for name := range o.Names() {
			was, _ := o.Get(name)
			if is, _ := edited.Get(name); name != set && name != del && !bytes.Equal(was, is) {
				t.Errorf("%q changed from %s to %s", name, was, is)
			}
		}
		if had { // there and back again
			o, err := rawjson.Parse(o.Edit(rawjson.Set(set, []byte("0"))))
			if err != nil {
				t.Fatal(err)
			}
			if back := o.Edit(rawjson.Set(set, old)); !bytes.Equal(back, body) {
				t.Errorf("two Sets made %q of %q", back, body)
			}
		}
	})
}

// What brackets and colons count is told apart from those in strings, wherever strings end.
func TestBracketsInStringsAreNoShape(t *testing.T) {
	deep := strings.Repeat("[", rawjson.MaxDepth+1)
	for _, inside := range []string{deep, deep + `\"` + deep, `\\\"` + deep, `\"` + deep + `\\`, deep + `\\\\`} {
		if _, err := rawjson.Parse([]byte(`{"a":"` + inside + `"}`)); err != nil {
			t.Errorf("a string that holds %.20q: %v", inside, err)
		}
	}
	for _, before := range []string{``, `\\`, `x\"\\`} {
		if _, err := rawjson.Parse([]byte(`{"a":"` + before + `","b":` + deep)); !errors.Is(err, rawjson.ErrDepth) {
			t.Errorf("depth behind a string %q: %v, want ErrDepth", before, err)
		}
	}
}
