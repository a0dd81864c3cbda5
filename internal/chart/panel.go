package chart

import (
	"fmt"
	"math"
)

// panel draws a panel whose plot begins at top.
func (d *drawing) panel(p *Panel, top int) {
	bottom := top + p.Height
	highest := ceiling(max(p.AtLeast, p.highest()))
	d.text(left, float64(top)-9, "title", p.Title)
	d.legend(p, top)
	for _, share := range []float64{0, 0.5, 1} {
		y := float64(bottom) - share*float64(p.Height)
		fmt.Fprintf(&d.b, `<line class="grid" x1="%d" x2="%d" y1="%s" y2="%s"/>`, left, d.Width-right, num(y), num(y))
		d.text(left-8, y+4, "axis end", p.Format(share*highest))
	}
	plot := plot{drawing: d, bottom: float64(bottom), scale: float64(p.Height) / highest}
	for i := range p.Series {
		plot.series(&p.Series[i])
	}
}

// legend names the series at the right of the title, if there are several.
func (d *drawing) legend(p *Panel, top int) {
	if len(p.Series) < 2 {
		return
	}
	x := float64(d.Width - right)
	for i := len(p.Series) - 1; i >= 0; i-- {
		s := p.Series[i]
		d.text(x, float64(top)-9, "legend end", s.Name)
		x -= 0.86*width(s.Name) + 12
		fmt.Fprintf(&d.b, `<rect class="swatch %s" x="%s" y="%d" width="10" height="10" rx="2"/>`, s.Class, num(x-6), top-18)
		x -= 20
	}
}

// highest is the highest value, of a stack if there is one.
func (p *Panel) highest() (highest float64) {
	var stack stack
	for _, s := range p.Series {
		for i, y := range s.Y {
			switch {
			case math.IsNaN(y):
			case s.Kind == Line:
				highest = max(highest, y)
			default:
				highest = max(highest, stack.put(i, y)+y)
			}
		}
	}
	return highest
}

// stack is how high the values of each place are already.
type stack []float64

// put puts a value on a place, and returns how high it stands.
func (s *stack) put(i int, y float64) (under float64) {
	for i >= len(*s) {
		*s = append(*s, 0)
	}
	under = (*s)[i]
	(*s)[i] = under + y
	return under
}

// ceiling is the next number above v that is easily read.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8, 10} {
		if v <= step*unit {
			return step * unit
		}
	}
	return 10 * unit
}

// plot is where the series of one panel are drawn.
type plot struct {
	*drawing
	bottom float64
	scale  float64
	stack  stack
}

func (p *plot) y(v float64) float64 { return p.bottom - v*p.scale }

func (p *plot) series(s *Series) {
	if s.Kind == Bars {
		p.bars(s)
		return
	}
	for from := 0; from < len(s.Y); {
		if math.IsNaN(s.Y[from]) {
			from++
			continue
		}
		to := from
		for to < len(s.Y) && !math.IsNaN(s.Y[to]) {
			to++
		}
		p.run(s, from, to)
		from = to
	}
}

// run draws a part without a gap.
func (p *plot) run(s *Series, from, to int) {
	line := make([]byte, 0, 12*(to-from))
	under := make([]float64, to-from)
	for i := from; i < to; i++ {
		if s.Kind == Area {
			under[i-from] = p.stack.put(i, s.Y[i])
		}
		line = appendPoint(line, p.x(s.X[i]), p.y(under[i-from]+s.Y[i]))
	}
	if s.Kind == Area {
		floor := make([]byte, 0, 12*(to-from))
		for i := to - 1; i >= from; i-- {
			floor = appendPoint(floor, p.x(s.X[i]), p.y(under[i-from]))
		}
		fmt.Fprintf(&p.b, `<polygon class="area %s" points="%s%s"/>`, s.Class, line, floor)
	}
	fmt.Fprintf(&p.b, `<polyline class="line %s" points="%s"/>`, s.Class, line)
}

// bars draws one bar for each value that is not 0, as wide as the time to the value before it, and never too thin to be seen.
func (p *plot) bars(s *Series) {
	var path []byte
	for i, v := range s.Y {
		if math.IsNaN(v) || v <= 0 {
			continue
		}
		to := p.x(s.X[i])
		from := to - 2
		if i > 0 {
			from = min(from, p.x(s.X[i-1]))
		}
		under := p.stack.put(i, v)
		top, floor := p.y(under+v), p.y(under)
		path = append(appendNum(append(path, 'M'), from), ',')
		path = append(appendNum(path, floor), 'H')
		path = append(appendNum(path, to), 'V')
		path = append(appendNum(path, min(top, floor-1.5)), 'H')
		path = append(appendNum(path, from), 'Z')
	}
	if len(path) > 0 {
		fmt.Fprintf(&p.b, `<path class="bars %s" d="%s"/>`, s.Class, path)
	}
}
