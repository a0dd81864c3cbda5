// Command pictures draws the diagrams of the documentation: the states of one database, and the floors of this module, which
// it finds by asking the go command who imports whom.
//
//	go run ./internal/tools/pictures docs
package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redishook/multidb/internal/chart"
	"github.com/redishook/multidb/internal/tools/house"
)

const module = "github.com/redishook/multidb"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pictures FOLDER")
		os.Exit(2)
	}
	if err := draw(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func draw(folder string) error {
	if err := os.WriteFile(filepath.Join(folder, "states.svg"), []byte(states()), 0o644); err != nil {
		return err
	}
	packages, err := house.List(module + "/...")
	if err != nil {
		return err
	}
	imports := make(map[string][]string)
	for _, p := range packages {
		imports[p.ImportPath] = p.Imports
	}
	return os.WriteFile(filepath.Join(folder, "floors.svg"), []byte(floors(imports)), 0o644)
}

// canvas is a drawing of boxes and arrows.
type canvas struct{ strings.Builder }

func newCanvas(width, height int, title string) *canvas {
	c := &canvas{}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 %d %d" width="%d" height="%d"><title>%s</title><style>%s
.box { fill: var(--paper); stroke: currentColor; stroke-width: 1.6; } .band { fill: currentColor; fill-opacity: .07; }
.arrow { fill: none; stroke: var(--quiet); stroke-width: 1.4; } .head { fill: var(--quiet); } .note { fill: var(--quiet); font-size: 11.5px; }</style>`,
		width, height, width, height, html.EscapeString(title), chart.Style)
	fmt.Fprintf(c, `<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path class="head" d="M0,0L8,4L0,8Z"/></marker></defs>`)
	fmt.Fprintf(c, `<rect class="paper" width="%d" height="%d"/>`, width, height)
	return c
}

// box draws a box with a title, and notes under it.
func (c *canvas) box(x, y, w, h int, class, title string, notes ...string) {
	fmt.Fprintf(c, `<g class="%s"><rect class="box" x="%d" y="%d" width="%d" height="%d" rx="8"/></g>`, class, x, y, w, h)
	top := y + h/2 + 4 - 8*len(notes)
	c.text(x+w/2, top, "title middle", title)
	for i, note := range notes {
		c.text(x+w/2, top+16*(i+1), "note middle", note)
	}
}

func (c *canvas) text(x, y int, class, text string) {
	fmt.Fprintf(c, `<text class="%s" x="%d" y="%d">%s</text>`, class, x, y, html.EscapeString(text))
}

// arrow draws a path that ends in a head, and what it stands for, line by line.
func (c *canvas) arrow(path string, x, y int, class string, lines ...string) {
	fmt.Fprintf(c, `<path class="arrow" marker-end="url(#head)" d="%s"/>`, path)
	for i, line := range lines {
		c.text(x, y+15*i, "note "+class, line)
	}
}

func (c *canvas) end() string { c.WriteString("</svg>\n"); return c.String() }

// states draws what a database goes through.
func states() string {
	c := newCanvas(960, 400, "The states of one database")
	c.box(20, 50, 150, 70, "quiet", "not checked yet", "after New and Add")
	c.box(370, 50, 170, 70, "good", "usable", "breaker closed")
	c.box(730, 50, 200, 70, "warn", "suspected", "still in use, probes under way")
	c.box(730, 270, 200, 80, "bad", "unusable", "breaker open: left alone", "for Breaker.Delay (1 s)")
	c.box(370, 270, 170, 80, "warn", "being tried", "breaker half-open:", "health checks only")
	c.box(20, 270, 190, 80, "good", "usable, in grace", "no return before", "Failback.GracePeriod (15 s)")
	c.arrow("M170,85H368", 269, 76, "middle", "first check passes")
	c.arrow("M540,72H728", 634, 48, "middle", "a command fails, a stall,", "a check of the active one")
	c.arrow("M730,104H542", 636, 122, "middle", "a probe answers: cleared")
	c.arrow("M830,120V268", 840, 190, "", "the probes fail:", "failover")
	c.arrow("M520,120C560,200 640,250 728,290", 536, 226, "end", "failure detector trips:", "failover")
	c.arrow("M730,300H542", 636, 292, "middle", "after the delay")
	c.arrow("M540,330H728", 636, 348, "middle", "a check fails")
	c.arrow("M370,310H212", 291, 286, "middle", "Breaker.Successes", "(3) checks pass")
	c.arrow("M115,270C130,190 250,150 368,104", 236, 196, "", "grace over: the heaviest is", "returned to, as planned")
	c.arrow("M150,350C250,400 640,400 780,352", 430, 372, "middle", "it fails again: the grace period grows by Failback.Factor (2)")
	c.text(20, 24, "title", "One database, from the hook's point of view")
	c.text(340, 24, "note", "Where all databases are unusable, the first one that answers is used at once: no grace, no delay.")
	return c.end()
}

// floors draws the packages, each as high as what it imports asks for.
func floors(imports map[string][]string) string {
	level := make(map[string]int)
	var height func(path string) int
	height = func(path string) int {
		if n, known := level[path]; known {
			return n
		}
		level[path] = 0
		n := 0
		for _, below := range imports[path] {
			if shown(below) && shown(path) {
				n = max(n, height(below)+1)
			}
		}
		level[path] = n
		return n
	}
	var rows [][]string
	for path := range imports {
		if !shown(path) {
			continue
		}
		n := height(path)
		for len(rows) <= n {
			rows = append(rows, nil)
		}
		rows[n] = append(rows[n], name(path))
	}
	const rowHeight, boxHeight, width = 64, 36, 960
	c := newCanvas(width, rowHeight*len(rows)+40, "The floors of the module")
	c.text(20, 24, "title", "Each package imports only what is on floors below it")
	for i, row := range rows {
		slices.Sort(row)
		y := 40 + rowHeight*(len(rows)-1-i)
		fmt.Fprintf(c, `<g class="db0"><rect class="band" x="12" y="%d" width="%d" height="%d" rx="8"/></g>`, y, width-24, rowHeight-6)
		c.text(28, y+33, "note", fmt.Sprint("floor ", i))
		w := min(190, (width-24-80)/len(row)-10)
		for j, title := range row {
			class := "db0"
			if strings.HasPrefix(title, "internal/") {
				class = "quiet"
			}
			c.box(92+j*(w+10), y+11, w, boxHeight, class, strings.TrimPrefix(title, "internal/"))
		}
	}
	return c.end()
}

// shown leaves out what serves tests, tools and examples.
func shown(path string) bool {
	rest, ours := strings.CutPrefix(path, module)
	for _, aside := range []string{"/internal/testkit", "/internal/tools", "/internal/e2e", "/internal/replay/", "/examples"} {
		ours = ours && !strings.HasPrefix(rest, aside)
	}
	return ours
}

func name(path string) string {
	if path == module {
		return "multidb, the hook"
	}
	return strings.TrimPrefix(path, module+"/")
}
