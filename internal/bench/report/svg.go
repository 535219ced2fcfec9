package report

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// point is a place in a drawing or, before it is scaled, in the data.
type point struct{ x, y float64 }

// svg writes one drawing. Its colours and fonts are the page's: elements have classes only.
type svg struct{ b strings.Builder }

// newSVG begins a drawing of this size in its own units; the page scales it. title is what screen
// readers say.
func newSVG(width, height float64, title string) *svg {
	s := &svg{}
	fmt.Fprintf(&s.b, `<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, short(width), short(height), html.EscapeString(title))
	return s
}

func (s *svg) end() template.HTML {
	return template.HTML(s.b.String() + "</svg>") //nolint:gosec // Every text in it is escaped.
}

func (s *svg) line(from, to point, class string) {
	fmt.Fprintf(&s.b, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, short(from.x), short(from.y), short(to.x), short(to.y), class)
}

func (s *svg) path(points []point, class string) {
	if len(points) == 0 {
		return
	}
	s.b.WriteString(`<path d="M`)
	for i, p := range points {
		if i > 0 {
			s.b.WriteByte('L')
		}
		s.b.WriteString(short(p.x) + " " + short(p.y))
	}
	fmt.Fprintf(&s.b, `" class="%s"/>`, class)
}

// text is anchored at its start, middle or end.
func (s *svg) text(at point, anchor, class, text string) {
	fmt.Fprintf(&s.b, `<text x="%s" y="%s" text-anchor="%s" class="%s">%s</text>`, short(at.x), short(at.y), anchor, class, html.EscapeString(text))
}

// rect has a tooltip.
func (s *svg) rect(at point, width, height float64, class, tip string) {
	fmt.Fprintf(&s.b, `<rect x="%s" y="%s" width="%s" height="%s" rx="3" class="%s"><title>%s</title></rect>`,
		short(at.x), short(at.y), short(width), short(height), class, html.EscapeString(tip))
}

// dot has a tooltip.
func (s *svg) dot(at point, class, tip string) {
	fmt.Fprintf(&s.b, `<circle cx="%s" cy="%s" r="5" class="%s"><title>%s</title></circle>`, short(at.x), short(at.y), class, html.EscapeString(tip))
}

// short is a coordinate with what the eye can see of it.
func short(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", x), "0"), ".")
}
