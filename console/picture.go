package console

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redishook/multidb/internal/chart"
)

// classes is how many databases have a colour of their own.
const classes = 8

// classOf is the class of the colour of a database.
func classOf(names []string, name string) string {
	return "db" + strconv.Itoa(max(0, slices.Index(names, name))%classes)
}

// picture draws what is remembered. Moments are in seconds before now.
func picture(now time.Time, names []string, past []sample, events []event) string {
	at := func(t time.Time) float64 { return t.Sub(now).Seconds() }
	span := max(60, math.Ceil((step.Seconds()-at(past[0].At))/30)*30)
	c := chart.Chart{
		Width: 1120, From: -span, To: 0, Every: every(span),
		Tick: func(x float64) string {
			if x > -1 {
				return "now"
			}
			return now.Add(time.Duration(x * float64(time.Second))).Format("15:04:05")
		},
		Title:       "The last " + short(time.Duration(span)*time.Second),
		Description: "Operations per second by database, failed attempts and errors, the 99th percentile where it is known, and switches as marks.",
		Lane:        lane(at, names, past),
		Panels:      panels(at, names, past),
	}
	for _, e := range events {
		if e.Mark != "" && at(e.At) >= c.From {
			c.Marks = append(c.Marks, chart.Mark{At: at(e.At), Label: e.Mark, Class: string(e.Level)})
		}
	}
	return c.SVG()
}

// every is the distance of the times on the X axis.
func every(span float64) float64 {
	for _, d := range []float64{10, 15, 30, 60, 120, 180} {
		if span/d <= 8 {
			return d
		}
	}
	return 180
}

// lane joins the seconds in which the same database was active.
func lane(at func(time.Time) float64, names []string, past []sample) (spans []chart.Span) {
	for _, s := range past {
		label, class := names[s.Active], classOf(names, names[s.Active])
		if s.Down {
			label, class = "none usable", "bad"
		}
		from := at(s.At) - step.Seconds()
		if n := len(spans); n > 0 && spans[n-1].Label == label && from-spans[n-1].To < 2*step.Seconds() {
			spans[n-1].To = at(s.At)
			continue
		} else if n > 0 && from-spans[n-1].To < 2*step.Seconds() {
			from = spans[n-1].To
		}
		spans = append(spans, chart.Span{From: from, To: at(s.At), Label: label, Class: class})
	}
	return spans
}

func panels(at func(time.Time) float64, names []string, past []sample) []chart.Panel {
	x := make([]float64, len(past))
	failed, told, p99 := make([]float64, len(past)), make([]float64, len(past)), make([]float64, len(past))
	timed := false
	for i, s := range past {
		x[i], failed[i], told[i], p99[i] = at(s.At), max(0, s.Failed-s.Told), s.Told, s.P99
		timed = timed || !math.IsNaN(s.P99)
	}
	ops := chart.Panel{Title: "operations per second", Height: 130, AtLeast: 10, Format: number}
	for d, name := range names {
		y := make([]float64, len(past))
		for i, s := range past {
			if d < len(s.Ops) {
				y[i] = s.Ops[d]
			}
		}
		hideIdle(y)
		ops.Series = append(ops.Series, chart.Series{Name: name, Class: classOf(names, name), Kind: chart.Area, X: x, Y: y})
	}
	errors := chart.Panel{Title: "errors per second", Height: 64, AtLeast: 5, Format: number, Series: []chart.Series{
		{Name: "unknown or refused, callers were told", Class: "bad", Kind: chart.Bars, X: x, Y: told},
		{Name: "failed attempts, most are run again", Class: "warn", Kind: chart.Bars, X: x, Y: failed},
	}}
	all := []chart.Panel{ops, errors}
	if timed {
		all = append(all, chart.Panel{
			Title: "99th percentile of commands", Height: 64, AtLeast: 0.001,
			Format: func(v float64) string { return short(time.Duration(v * float64(time.Second))) },
			Series: []chart.Series{{Name: "p99", Class: "quiet", Kind: chart.Line, X: x, Y: p99}},
		})
	}
	return all
}

// hideIdle leaves out where a database has done nothing: its line would run along that of another one.
func hideIdle(y []float64) {
	idle := func(i int) bool { return i < 0 || i >= len(y) || y[i] == 0 || math.IsNaN(y[i]) }
	before := true // whether the value before was idle, as it was before it was left out
	for i := range y {
		this := idle(i)
		if this && before && idle(i+1) {
			y[i] = math.NaN()
		}
		before = this
	}
}

func number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 10_000:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	}
	return fmt.Sprintf("%.4g", v)
}
