package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
)

// plot is lines or dots over two axes.
type plot struct {
	title        string
	xUnit, yUnit string
	width        float64 // of the drawing; the height follows
	x, y         axis
	series       []series
}

// series is one line; dots are drawn where there is no line.
type series struct {
	points []point
	class  string
	name   string // beside a dot
}

// axis maps values to a part of the drawing.
type axis struct {
	low, high float64
	log       bool
	ticks     []float64
}

// linear is an axis from 0 to at least high, with round ticks.
func linear(high float64) axis {
	if !(high > 0) {
		high = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(high/3)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if high/(step*factor) <= 4.5 {
			step *= factor
			break
		}
	}
	a := axis{high: math.Ceil(high/step-1e-9) * step}
	for i := 0; float64(i)*step <= a.high+step/2; i++ {
		a.ticks = append(a.ticks, float64(i)*step)
	}
	return a
}

// logarithmic is an axis over whole powers of ten.
func logarithmic(low, high float64) axis {
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	a := axis{low: math.Pow(10, from), high: math.Pow(10, to), log: true}
	stride := math.Ceil((to - from) / 4)
	for e := from; e <= to; e += stride {
		a.ticks = append(a.ticks, math.Pow(10, e))
	}
	return a
}

// at is the place of v between 0 and 1.
func (a axis) at(v float64) float64 {
	if a.log {
		return math.Log10(max(v, a.low)/a.low) / math.Log10(a.high/a.low)
	}
	return (v - a.low) / (a.high - a.low)
}

// tick is a value in the fewest characters.
func tick(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
}

// The margins around the data, in units of the drawing.
const marginLeft, marginRight, marginTop, marginBottom = 44, 18, 24, 36

func (p *plot) draw() template.HTML {
	height := p.width * 0.62
	s := newSVG(p.width, height, p.title)
	left, right, top, bottom := float64(marginLeft), p.width-marginRight, float64(marginTop), height-marginBottom
	place := func(v point) point {
		return point{left + p.x.at(v.x)*(right-left), bottom - p.y.at(v.y)*(bottom-top)}
	}
	for _, v := range p.y.ticks {
		y := place(point{p.x.low, v}).y
		s.line(point{left, y}, point{right, y}, "rule")
		s.text(point{left - 6, y + 4}, "end", "tick", tick(v))
	}
	for _, v := range p.x.ticks {
		x := place(point{v, p.y.low}).x
		s.line(point{x, bottom}, point{x, bottom + 4}, "axis")
		s.text(point{x, bottom + 16}, "middle", "tick", tick(v))
	}
	s.line(point{left, bottom}, point{right, bottom}, "axis")
	s.text(point{(left + right) / 2, height - 4}, "middle", "unit", p.xUnit)
	s.text(point{4, 12}, "start", "unit", p.yUnit)
	var labels []room
	for _, one := range p.series {
		var points []point
		for _, v := range one.points {
			points = append(points, place(v))
		}
		if one.name == "" {
			s.path(points, one.class)
			continue
		}
		for i, at := range points {
			s.dot(at, one.class, fmt.Sprintf("%s: %s %s, %s %s", one.name, number(one.points[i].x), p.xUnit, number(one.points[i].y), p.yUnit))
			anchor := "start"
			if at.x > (left+right)/2 {
				anchor = "end"
			}
			label := labelOf(one.name, at, anchor)
			for _, other := range labels {
				if label.meets(other) {
					label.y = at.y + 18 // below the dot
				}
			}
			labels = append(labels, label)
			s.text(point{at.x, label.y}, anchor, "label", one.name)
		}
	}
	return s.end()
}

// room is what a line of text takes.
type room struct{ from, to, y float64 }

// labelOf is the room of a label above a dot.
func labelOf(text string, dot point, anchor string) room {
	const letter = 6.3 // mean width in the page's font
	width := letter * float64(len([]rune(text)))
	if anchor == "end" {
		return room{dot.x - width, dot.x, dot.y - 10}
	}
	return room{dot.x, dot.x + width, dot.y - 10}
}

func (r room) meets(other room) bool {
	const height = 14
	return r.from < other.to && other.from < r.to && math.Abs(r.y-other.y) < height
}

// bars are one figure of several results, a bar for each.
type bars struct {
	title string
	names []string
	data  []float64
	class []string
	unit  string
}

func (b *bars) draw() template.HTML {
	const width, row = 380.0, 36.0
	s := newSVG(width, row*float64(len(b.data))+2, b.title)
	most := 0.0
	for _, v := range b.data {
		most = max(most, v)
	}
	for i, v := range b.data {
		y := row * float64(i)
		s.text(point{0, y + 12}, "start", "label", b.names[i])
		s.text(point{width, y + 12}, "end", "value", number(v)+" "+b.unit)
		length := 1.0
		if most > 0 {
			length = max(1, v/most*width)
		}
		s.rect(point{0, y + 18}, length, 10, b.class[i]+" bar", b.names[i]+": "+number(v)+" "+b.unit)
	}
	return s.end()
}
