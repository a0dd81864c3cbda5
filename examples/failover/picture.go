package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/redishook/multidb/internal/chart"
)

// resolution is how much time one point of the picture stands for.
const resolution = 100 * time.Millisecond

// drawing collects what -svg draws. It belongs to the goroutine that prints.
type drawing struct {
	names  []string
	began  time.Time
	points []moment
	marks  []chart.Mark
}

// moment is what happened since the one before it.
type moment struct {
	at      float64 // seconds
	active  string  // empty: none usable
	ops     float64 // per second
	errors  float64 // callers that got one
	slowest float64 // seconds; NaN if nothing was done
}

func (d *drawing) add(now time.Time, active string, t tally, took []time.Duration) {
	at := now.Sub(d.began).Seconds()
	passed := at
	if n := len(d.points); n > 0 {
		passed = at - d.points[n-1].at
	}
	if passed < resolution.Seconds()/4 {
		return
	}
	m := moment{at: at, active: active, ops: float64(t.ops) / passed, errors: float64(t.errors), slowest: math.NaN()}
	if len(took) > 0 {
		m.slowest = slices.Max(took).Seconds()
	}
	d.points = append(d.points, m)
}

func (d *drawing) mark(at time.Time, class, text string) {
	d.marks = append(d.marks, chart.Mark{At: at.Sub(d.began).Seconds(), Label: text, Class: class})
}

// write draws the file.
func (d *drawing) write(file, title string) error {
	if len(d.points) < 2 {
		return nil // ended before there was anything to see
	}
	x := make([]float64, len(d.points))
	errors, slowest := make([]float64, len(x)), make([]float64, len(x))
	for i, p := range d.points {
		x[i], errors[i], slowest[i] = p.at, p.errors, p.slowest
	}
	end := x[len(x)-1]
	seconds := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) + " s" }
	c := chart.Chart{
		Width: 960, From: 0, To: end, Every: max(1, math.Ceil(end/10)), Tick: seconds, Title: title,
		Description: "Operations per second, errors, and the slowest command of each tenth of a second, while a database fails and comes back.",
		Lane:        d.lane(end), Marks: d.marks,
		Panels: []chart.Panel{
			{Title: "operations per second", Height: 130, AtLeast: 10, Format: short, Series: d.ops(x)},
			{Title: "errors at callers, in each tenth of a second", Height: 50, AtLeast: 10, Format: short, Series: []chart.Series{
				{Class: "bad", Kind: chart.Bars, X: x, Y: errors}}},
			{Title: "slowest command", Height: 50, AtLeast: 0.02, Format: func(v float64) string { return fmt.Sprintf("%.4g ms", v*1000) },
				Series: []chart.Series{{Class: "quiet", Kind: chart.Line, X: x, Y: slowest}}},
		},
	}
	return os.WriteFile(file, []byte(c.Standalone()+"\n"), 0o644)
}

func (d *drawing) class(name string) string {
	return "db" + strconv.Itoa(max(0, slices.Index(d.names, name))%4)
}

// lane says who was active when.
func (d *drawing) lane(end float64) (spans []chart.Span) {
	for i, p := range d.points {
		label, class := p.active, d.class(p.active)
		if p.active == "" {
			label, class = "none usable", "bad"
		}
		if n := len(spans); n > 0 && spans[n-1].Label == label {
			spans[n-1].To = p.at
			continue
		}
		from := 0.0
		if i > 0 {
			from = d.points[i-1].at
		}
		spans = append(spans, chart.Span{From: from, To: p.at, Label: label, Class: class})
	}
	spans[len(spans)-1].To = end
	return spans
}

// ops is a series for each database, with what was done while it was active.
func (d *drawing) ops(x []float64) (all []chart.Series) {
	for _, name := range d.names {
		y := make([]float64, len(x))
		for i, p := range d.points {
			y[i] = math.NaN()
			if p.active == name {
				y[i] = p.ops
			}
		}
		all = append(all, chart.Series{Name: name, Class: d.class(name), Kind: chart.Area, X: x, Y: y})
	}
	return all
}

func short(v float64) string {
	if v >= 10_000 {
		return strconv.FormatFloat(v/1000, 'g', 3, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
