package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func simple(series ...Series) *Chart {
	return &Chart{
		Width: 572, From: 0, To: 10, Every: 5, Tick: func(x float64) string { return strconv.Itoa(int(x)) + "s" },
		Panels: []Panel{{Title: "values", Height: 100, Format: func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }, Series: series}},
	}
}

func points(n int, y float64) (xs, ys []float64) {
	for i := range n {
		xs, ys = append(xs, float64(i)), append(ys, y)
	}
	return xs, ys
}

// elements parses the drawing, which fails if it is no XML, and returns the attributes and texts of its elements by name.
func elements(t *testing.T, svg string) map[string][]map[string]string {
	t.Helper()
	all := make(map[string][]map[string]string)
	d := xml.NewDecoder(strings.NewReader(svg))
	var last map[string]string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			last = make(map[string]string)
			for _, a := range token.Attr {
				last[a.Name.Local] = a.Value
			}
			all[token.Name.Local] = append(all[token.Name.Local], last)
		case xml.CharData:
			if last != nil {
				last["text"] += string(token)
			}
		}
	}
}

func TestValuesStandAtTheirPlace(t *testing.T) {
	x, y := points(11, 5)
	y[10] = 10
	e := elements(t, simple(Series{Name: "a", Class: "db0", Kind: Line, X: x, Y: y}).SVG())
	line := strings.Fields(e["polyline"][0]["points"])
	require.Len(t, line, 11)
	require.Equal(t, "58,76", line[0], "half of 100 above the floor, which is at 126")
	require.Equal(t, "558,26", line[10])
}

func TestAreasAreStackedAndLinesAreNot(t *testing.T) {
	x, y := points(11, 2)
	e := elements(t, simple(Series{Kind: Area, X: x, Y: y}, Series{Kind: Area, X: x, Y: y}).SVG())
	require.Contains(t, e["polyline"][0]["points"], "58,76 ")
	require.Contains(t, e["polyline"][1]["points"], "58,26 ")
	require.Contains(t, e["polygon"][1]["points"], "58,76 ", "its floor is the other one")
	e = elements(t, simple(Series{Kind: Line, X: x, Y: y}, Series{Kind: Line, X: x, Y: y}).SVG())
	require.Equal(t, e["polyline"][0]["points"], e["polyline"][1]["points"])
	e = elements(t, simple(Series{Kind: Bars, X: x, Y: y}, Series{Kind: Bars, X: x, Y: y}).SVG())
	require.Contains(t, e["path"][1]["d"], ",76H", "a bar stands on the other one")
}

func TestGapsAreLeftOut(t *testing.T) {
	x, y := points(11, 1)
	y[4] = math.NaN()
	e := elements(t, simple(Series{Kind: Area, X: x, Y: y}).SVG())
	require.Len(t, e["polyline"], 2)
	require.NotContains(t, simple(Series{Kind: Bars, X: x, Y: y}).SVG(), "NaN")
}

func TestTextIsNoMarkup(t *testing.T) {
	const evil = `</text><script>alert("1")</script>`
	c := simple(Series{Name: evil, X: []float64{0}, Y: []float64{1}}, Series{Name: "b"})
	c.Title, c.Description, c.Panels[0].Title = evil, evil, evil
	c.Lane = []Span{{From: 0, To: 10, Label: evil}}
	c.Marks = []Mark{{At: 3, Label: evil}}
	e := elements(t, c.Standalone())
	require.Empty(t, e["script"])
	require.Equal(t, evil, e["title"][0]["text"])
	require.GreaterOrEqual(t, strings.Count(c.SVG(), "&lt;script&gt;"), 5)
}

// Labels that would cover one another stand in rows of their own, and none leaves the drawing.
func TestLabelsOfMarks(t *testing.T) {
	c := simple()
	c.Marks = []Mark{{At: 1, Label: "east → west"}, {At: 1.1, Label: "west → east"}, {At: 5, Label: "far away"}, {At: 9.9, Label: "at the very end"}}
	d := &drawing{Chart: c}
	labels := d.placeLabels()
	require.Equal(t, []int{0, 1, 0, 0}, []int{labels[0].row, labels[1].row, labels[2].row, labels[3].row})
	require.Equal(t, []bool{false, false, false, true}, []bool{labels[0].end, labels[1].end, labels[2].end, labels[3].end})
	require.Equal(t, 2, d.rows)
}

func TestCeiling(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.0007: 0.0008, 1: 1, 1.2: 1.5, 7: 8, 99: 100, 1010: 1500, 12_345: 15_000} {
		require.InEpsilon(t, want, ceiling(v), 1e-9, "%v", v)
	}
}
