// Package chart draws what happened over time as SVG: panels of lines, areas and bars above one another, a lane that says
// who was active, and marks across all of them. Colours are classes, so that a page has its own; [Chart.Standalone] brings
// a style sheet along.
package chart

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Chart is a drawing. X is in seconds, whatever its zero.
type Chart struct {
	// Width is in pixels, of a drawing that may be scaled.
	Width int
	// From and To are the ends of the X axis.
	From, To float64
	// Tick says what stands at a place of the X axis; Every is the distance between two of them.
	Tick  func(x float64) string
	Every float64
	// Title and Description are read out to those who do not see the drawing.
	Title, Description string
	// Lane says who was active when.
	Lane []Span
	// Panels stand under the lane, in this order.
	Panels []Panel
	// Marks go across all panels.
	Marks []Mark
}

// Span is a part of the lane.
type Span struct {
	From, To float64
	Label    string
	Class    string
}

// Panel is one drawing of values over time.
type Panel struct {
	Title  string
	Height int
	// AtLeast is the least that the Y axis shows, so that a value of nearly nothing does not fill the panel.
	AtLeast float64
	// Format writes a value of the Y axis.
	Format func(float64) string
	Series []Series
}

// Kind is how a series is drawn.
type Kind int

// The kinds of series.
const (
	Line Kind = iota
	Area      // a line, and what is under it is filled
	Bars
)

// Series is values over time. Areas and bars of one panel are stacked in their order, and have the same X; lines are not.
type Series struct {
	Name  string
	Class string
	Kind  Kind
	X     []float64
	// Y has a value for each X; NaN is a gap.
	Y []float64
}

// Mark is a moment.
type Mark struct {
	At    float64
	Label string
	Class string
}

const (
	left, right = 58, 14
	laneHeight  = 22
	titleHeight = 24
	gap         = 12
	axisHeight  = 22
	markHeight  = 17 // of one row of labels
)

// drawing is a chart while it is drawn.
type drawing struct {
	*Chart
	b    strings.Builder
	rows int // of labels of marks
}

// SVG returns the drawing as an element for a page, which has the style of the classes.
func (c *Chart) SVG() string { return c.draw("") }

// Standalone returns the drawing as a file, with a style that suits a light and a dark background.
func (c *Chart) Standalone() string { return c.draw("<style>" + Style + "</style>") }

func (c *Chart) draw(style string) string {
	d := &drawing{Chart: c}
	labels := d.placeLabels()
	top := d.rows*markHeight + 2
	height := top + axisHeight
	if len(c.Lane) > 0 {
		height += laneHeight + gap
	}
	for _, p := range c.Panels {
		height += titleHeight + p.Height + gap
	}
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 %d %d" width="%d" height="%d">`,
		c.Width, height, c.Width, height)
	fmt.Fprintf(&d.b, "<title>%s</title><desc>%s</desc>%s", html.EscapeString(c.Title), html.EscapeString(c.Description), style)
	fmt.Fprintf(&d.b, `<rect class="paper" width="%d" height="%d"/>`, c.Width, height)
	y := top
	if len(c.Lane) > 0 {
		d.lane(y)
		y += laneHeight + gap
	}
	for i := range c.Panels {
		d.panel(&c.Panels[i], y+titleHeight)
		y += titleHeight + c.Panels[i].Height + gap
	}
	d.axis(y)
	d.marks(labels, y-gap)
	d.b.WriteString("</svg>")
	return d.b.String()
}

// x is the place of a moment.
func (d *drawing) x(at float64) float64 {
	return left + (at-d.From)/(d.To-d.From)*float64(d.Width-left-right)
}

func (d *drawing) inside(at float64) float64 { return min(max(at, d.From), d.To) }

func (d *drawing) lane(y int) {
	d.text(left-8, float64(y)+15, "axis end", "active")
	for _, s := range d.Lane {
		from, to := d.x(d.inside(s.From)), d.x(d.inside(s.To))
		if to <= from {
			continue
		}
		fmt.Fprintf(&d.b, `<rect class="span %s" x="%s" y="%d" width="%s" height="%d" rx="3"/>`, s.Class, num(from), y, num(to-from), laneHeight)
		if width(s.Label) < to-from-8 {
			d.text((from+to)/2, float64(y)+15, "spanname middle", s.Label)
		}
	}
}

func (d *drawing) axis(y int) {
	if d.Every <= 0 {
		return
	}
	for x := math.Ceil(d.From/d.Every) * d.Every; x <= d.To; x += d.Every {
		d.text(d.x(x), float64(y)+8, "axis middle", d.Tick(x))
	}
}

// text writes a label. Whatever its text is, it is no markup.
func (d *drawing) text(x, y float64, class, text string) {
	fmt.Fprintf(&d.b, `<text class="%s" x="%s" y="%s">%s</text>`, class, num(x), num(y), html.EscapeString(text))
}

// label is where the text of a mark stands.
type label struct {
	x   float64
	row int
	end bool // it ends at x instead of beginning there
}

// placeLabels puts the labels of marks into as few rows as they need, so that none covers another.
func (d *drawing) placeLabels() []label {
	var free []float64 // where each row is free from
	labels := make([]label, len(d.Marks))
	for i, m := range d.Marks {
		x, w := d.x(m.At), width(m.Label)+10
		l := label{x: x, end: x+w > float64(d.Width)}
		from := x
		if l.end {
			from = x - w
		}
		for l.row = 0; l.row < len(free) && free[l.row] > from; l.row++ {
		}
		if l.row == len(free) {
			free = append(free, 0)
		}
		free[l.row] = from + w
		labels[i] = l
	}
	d.rows = len(free)
	return labels
}

func (d *drawing) marks(labels []label, bottom int) {
	for i, m := range d.Marks {
		l := labels[i]
		y := l.row*markHeight + 2
		fmt.Fprintf(&d.b, `<line class="mark %s" x1="%s" x2="%s" y1="%d" y2="%d"/>`, m.Class, num(l.x), num(l.x), y, bottom)
		if l.end {
			d.text(l.x-5, float64(y)+11, "marktext end "+m.Class, m.Label)
		} else {
			d.text(l.x+5, float64(y)+11, "marktext "+m.Class, m.Label)
		}
	}
}

// width is about how wide a text is.
func width(s string) float64 { return 6.7 * float64(len([]rune(s))) }

// num writes a place as short as it may be.
func num(v float64) string { return string(appendNum(nil, v)) }

// appendNum is num for thousands of places: to a tenth of a pixel.
func appendNum(b []byte, v float64) []byte {
	tenths := int64(math.Round(v * 10))
	if tenths < 0 {
		b, tenths = append(b, '-'), -tenths
	}
	b = strconv.AppendInt(b, tenths/10, 10)
	if tenths%10 != 0 {
		b = append(b, '.', byte('0'+tenths%10))
	}
	return b
}

// appendPoint appends "x,y ".
func appendPoint(b []byte, x, y float64) []byte {
	b = append(appendNum(b, x), ',')
	return append(appendNum(b, y), ' ')
}
