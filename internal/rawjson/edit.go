package rawjson

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Edit is one change of a top-level member; see Set and Delete.
type Edit struct {
	name  string
	value []byte // nil: delete
}

// Set replaces the member's value where it stands, or appends the member as the last one. The
// value must be valid JSON.
func Set(name string, value []byte) Edit { return Edit{name, value} }

// Delete removes the member and one comma; an absent member is fine.
func Delete(name string) Edit { return Edit{name: name} }

// Edit returns the object with the edits made and every other byte as it was. The result never
// shares memory with the body. Of several edits of one name the last counts.
func (o *Object) Edit(edits ...Edit) []byte {
	var changed, added []Edit
	grow := 0
	for _, e := range edits {
		grow += len(e.name) + len(e.value) + 8
		if _, ok := o.find(e.name); ok {
			changed = append(changed, e)
			continue
		}
		added = slices.DeleteFunc(added, func(a Edit) bool { return a.name == e.name })
		if e.value != nil {
			added = append(added, e)
		}
	}
	change := func(i int) (Edit, bool) {
		for _, e := range slices.Backward(changed) {
			if e.name == string(o.members[i].name) {
				return e, true
			}
		}
		return Edit{}, false
	}
	deleted := func(i int) bool { e, ok := change(i); return ok && e.value == nil }

	// Members from kept on are all deleted, and with them the comma before them.
	kept := len(o.members)
	for kept > 0 && deleted(kept-1) {
		kept--
	}
	out := make([]byte, 0, len(o.body)+grow)
	at := 0
	for i, m := range o.members[:kept] {
		e, ok := change(i)
		switch {
		case !ok:
		case e.value == nil:
			out = append(out, o.body[at:m.start]...)
			at = o.members[i+1].start
		default:
			out = append(out, o.body[at:m.value]...)
			out = append(out, e.value...)
			at = m.end
		}
	}
	tail := o.open // where the last kept member ends
	if kept > 0 {
		tail = o.members[kept-1].end
	}
	out = append(out, o.body[at:tail]...)
	for i, e := range added {
		if i > 0 || kept > 0 {
			out = append(out, ',')
		}
		name, err := jsontext.AppendQuote(nil, e.name)
		if err != nil {
			panic("rawjson: name is not UTF-8: " + err.Error())
		}
		out = append(append(append(out, name...), ':'), e.value...)
	}
	rest := tail
	if kept < len(o.members) {
		rest = o.members[len(o.members)-1].end
	}
	return append(out, o.body[rest:]...)
}
