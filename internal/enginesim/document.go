package enginesim

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Bounds of what a schema can make a document cost.
const (
	maxValues  = 4096 // in one document; the rest are null
	maxDepth   = 16   // deeper values are null
	deep       = 4    // deeper, a document takes the shortest way out of a schema that contains itself
	maxItems   = 64   // of an array whose schema wants more
	maxLetters = 1024 // of a string whose schema wants more
)

// Document is the JSON that answers a request for it: valid for the schema, with values derived
// from the digest.
func Document(digest string, schema []byte) (string, error) {
	root, err := parseSchema(schema)
	if err != nil {
		return "", fmt.Errorf("read schema: %w", err)
	}
	return root.document(digest), nil
}

// document writes with a space after each comma and colon, as vLLM's grammars do.
func (r *schemaRoot) document(digest string) string {
	w := &documentWriter{root: r, left: maxValues}
	w.value(r.schema, digest, 0)
	return w.b.String()
}

type documentWriter struct {
	root *schemaRoot
	b    strings.Builder
	left int // values that may still be written
}

// value writes what fits s; seed stands for the digest and the value's place.
func (w *documentWriter) value(s *schema, seed string, depth int) {
	w.left--
	s = w.plain(s, depth)
	if w.left < 0 || depth > maxDepth {
		w.b.WriteString("null")
		return
	}
	if len(s.literals) > 0 {
		w.b.WriteString(pick(s.literals, seed))
		return
	}
	switch s.shape() {
	case kindObject:
		w.object(s, seed, depth)
	case kindArray:
		w.array(s, seed, depth)
	case kindInteger:
		w.b.WriteString(strconv.FormatFloat(s.number.integer(hash(seed)), 'f', -1, 64))
	case kindNumber:
		w.b.WriteString(strconv.FormatFloat(s.number.number(hash(seed)), 'g', -1, 64))
	case kindBoolean:
		w.b.WriteString(strconv.FormatBool(hash(seed)%2 == 0))
	case kindNull:
		w.b.WriteString("null")
	default:
		w.b.WriteString(quoted(s.text.sample(seed)))
	}
}

// plain is s with its reference followed and its alternatives decided.
func (w *documentWriter) plain(s *schema, depth int) *schema {
	for range maxDepth {
		switch {
		case s.ref != "":
			target := w.root.targets[s.ref]
			if target == nil {
				return &schema{text: textRules{most: unbounded}, most: unbounded}
			}
			s = target
		case len(s.allOf) > 0:
			s = s.with(w.plain(s.allOf[0], depth), func(own *schema) { own.allOf = own.allOf[1:] })
		case len(s.anyOf) > 0:
			s = s.with(w.choose(s.anyOf, depth), func(own *schema) { own.anyOf = nil })
		default:
			return s
		}
	}
	return s
}

// choose takes the first alternative or, deep inside, one that leads out.
func (w *documentWriter) choose(alternatives []*schema, depth int) *schema {
	if depth < deep {
		return w.plain(alternatives[0], depth)
	}
	for _, a := range alternatives {
		if a.kind == kindNull {
			return a
		}
	}
	return w.plain(alternatives[len(alternatives)-1], depth)
}

// with is s and part in one, once drop has taken part out of s.
func (s *schema) with(part *schema, drop func(own *schema)) *schema {
	own := *s
	drop(&own)
	if own.kind == "" {
		own.kind = part.kind
	}
	if own.items == nil {
		own.items, own.prefix, own.least, own.most = part.items, part.prefix, max(own.least, part.least), max(own.most, part.most)
	}
	if own.text == (textRules{most: unbounded}) {
		own.text = part.text
	}
	if own.number == (numberRules{}) {
		own.number = part.number
	}
	own.literals = append(slices.Clip(own.literals), part.literals...)
	own.properties = append(slices.Clip(own.properties), part.properties...)
	own.required = maps.Clone(own.required)
	if own.required == nil {
		own.required = map[string]bool{}
	}
	maps.Copy(own.required, part.required)
	return &own
}

// shape is the kind, or what the other members show it to be.
func (s *schema) shape() string {
	switch {
	case s.kind != "":
		return s.kind
	case len(s.properties) > 0 || len(s.required) > 0:
		return kindObject
	case s.items != nil || len(s.prefix) > 0:
		return kindArray
	case s.number != (numberRules{}):
		return kindNumber
	}
	return kindString
}

func (w *documentWriter) object(s *schema, seed string, depth int) {
	members := slices.Clone(s.properties)
	for _, name := range slices.Sorted(maps.Keys(s.required)) {
		if !slices.ContainsFunc(members, func(p property) bool { return p.name == name }) {
			members = append(members, property{name, &schema{most: unbounded, text: textRules{most: unbounded}}})
		}
	}
	if depth >= deep {
		members = slices.DeleteFunc(members, func(p property) bool { return !s.required[p.name] })
	}
	w.b.WriteString("{")
	for i, p := range members {
		if i > 0 {
			w.b.WriteString(", ")
		}
		w.b.WriteString(quoted(p.name) + ": ")
		w.value(p.schema, seed+"/"+p.name, depth+1)
	}
	w.b.WriteString("}")
}

func (w *documentWriter) array(s *schema, seed string, depth int) {
	n := len(s.prefix)
	if depth < deep && n == 0 {
		n = 1 + int(hash(seed)%2) //nolint:gosec // 0 or 1.
	}
	if n = max(n, s.least); s.most != unbounded {
		n = min(n, s.most)
	}
	n = min(n, maxItems)
	w.b.WriteString("[")
	for i := range n {
		if i > 0 {
			w.b.WriteString(", ")
		}
		item := s.items
		if i < len(s.prefix) {
			item = s.prefix[i]
		}
		if item == nil {
			item = &schema{kind: kindString, text: textRules{most: unbounded}}
		}
		w.value(item, seed+"/"+strconv.Itoa(i), depth+1)
	}
	w.b.WriteString("]")
}

// integer is a whole number within the bounds; without any, one below 100.
func (r numberRules) integer(h uint64) float64 {
	low, high := r.bounds(1)
	step := 1.0
	if r.multiple >= 1 {
		step = math.Ceil(r.multiple)
	}
	low = math.Ceil(low/step) * step
	return low + step*drawn(h, (high-low)/step)
}

// number keeps exclusive bounds by keeping off the ends.
func (r numberRules) number(h uint64) float64 {
	if r.multiple > 0 {
		low, high := r.bounds(r.multiple)
		first := math.Ceil(low / r.multiple)
		return r.multiple * (first + drawn(h, high/r.multiple-first))
	}
	low, high := r.bounds(0)
	return low + (high-low)*float64(1+h%399)/400
}

// drawn is a whole number from 0 to most.
func drawn(h uint64, most float64) float64 {
	return float64(h % uint64(1+min(max(0, math.Floor(most)), 1<<53)))
}

// bounds are inclusive; margin is what keeps off an exclusive one.
func (r numberRules) bounds(margin float64) (low, high float64) {
	const span, most = 99, 1 << 53 // above most, not every whole number is a float64
	low, high = math.Inf(-1), math.Inf(1)
	for _, b := range []*float64{r.least, add(r.above, margin)} {
		if b != nil {
			low = max(low, *b)
		}
	}
	for _, b := range []*float64{r.most, add(r.below, -margin)} {
		if b != nil {
			high = min(high, *b)
		}
	}
	switch noLow, noHigh := math.IsInf(low, 0), math.IsInf(high, 0); {
	case noLow && noHigh:
		low, high = 0, span
	case noLow:
		low = high - span
	case noHigh:
		high = low + span
	}
	low = min(max(low, -most), most)
	return low, max(low, min(high, low+most))
}

func add(n *float64, d float64) *float64 {
	if n == nil {
		return nil
	}
	sum := *n + d
	return &sum
}

func hash(seed string) uint64 { return xxhash.Sum64String(seed) }

func pick[T any](from []T, seed string) T { return from[hash(seed)%uint64(len(from))] }
