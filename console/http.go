package console

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/redishook/multidb"
)

//go:embed page.html console.css console.js
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// policy lets the page load its own style and script and ask its own address, and nothing else in the world.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves the page, its parts and its JSON for GET, and carries out an action for POST.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		c.get(w, r)
	case http.MethodPost:
		c.post(w, r)
	default:
		header.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "multidb console: "+r.Method+" is not supported", http.StatusMethodNotAllowed)
	}
}

func (c *Console) get(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch asset := query.Get("asset"); {
	case asset == "console.css":
		c.file(w, asset, "text/css; charset=utf-8")
	case asset == "console.js":
		c.file(w, asset, "text/javascript; charset=utf-8")
	case asset != "":
		http.Error(w, "multidb console: there is no such asset", http.StatusNotFound)
	case query.Get("format") == "json":
		c.json(w, http.StatusOK, c.report(query.Get("samples")))
	case query.Get("format") != "":
		http.Error(w, `multidb console: the format must be "json", or not be given`, http.StatusBadRequest)
	default:
		_, err := c.authorize(r)
		c.page(w, http.StatusOK, c.view(time.Now(), err))
	}
}

// file serves a part of the page, which may be kept as long as the page that names it.
func (c *Console) file(w http.ResponseWriter, name, kind string) {
	content, err := files.ReadFile(name)
	if err != nil {
		http.Error(w, "multidb console: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(content)
}

// page writes all of it or an error: a page that ends in the middle would lie.
func (c *Console) page(w http.ResponseWriter, status int, v view) {
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		http.Error(w, "multidb console: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func (c *Console) json(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "multidb console: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// report is what scripts get.
type report struct {
	At      time.Time     `json:"at"`
	Stats   multidb.Stats `json:"stats"`
	Returns []waiting     `json:"returns,omitempty"`
	Events  []event       `json:"events"`
	History []point       `json:"history"`
}

// waiting is what a return to a heavier database waits for.
type waiting struct {
	Database string   `json:"database"`
	For      []string `json:"waits_for"`
}

// point is one second of the past.
type point struct {
	At     time.Time          `json:"at"`
	Active string             `json:"active"`
	Down   bool               `json:"down,omitempty"`
	Ops    map[string]float64 `json:"ops"`
	Failed float64            `json:"failed_attempts"`
	Told   float64            `json:"unknown_or_refused"`
	P99    float64            `json:"p99_seconds,omitempty"`
}

// report returns the state and the last seconds, all that are known if the number is not one.
func (c *Console) report(last string) report {
	now := time.Now()
	stats := c.hook.Stats()
	r := report{At: now, Stats: stats, Events: c.events.snapshot(), History: []point{}}
	for _, d := range stats.Databases {
		if reasons := waitsFor(now, stats, d); len(reasons) > 0 {
			r.Returns = append(r.Returns, waiting{d.Name, reasons})
		}
	}
	names, past := c.history.snapshot()
	if n, err := strconv.Atoi(last); err == nil && n >= 0 && n < len(past) {
		past = past[len(past)-n:]
	}
	for _, s := range past {
		p := point{At: s.At, Active: names[s.Active], Down: s.Down, Ops: make(map[string]float64), Failed: s.Failed, Told: s.Told}
		for i, ops := range s.Ops {
			p.Ops[names[i]] = ops
		}
		if s.P99 > 0 {
			p.P99 = s.P99
		}
		r.History = append(r.History, p)
	}
	return r
}
