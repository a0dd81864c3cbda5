package console

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/redishook/multidb"
)

const (
	step    = time.Second
	samples = 15 * 60 // what is remembered
)

// history is the last 15 minutes. The zero value is ready.
type history struct {
	mu     sync.Mutex
	names  []string                         // Guarded by mu; of all databases that there have been, in order of appearance
	past   []sample                         // Guarded by mu; the oldest first
	before map[string]multidb.DatabaseStats // Guarded by mu; of the last look
	looked time.Time                        // Guarded by mu
}

// sample is what happened in the second before At.
type sample struct {
	At     time.Time
	Active int // its place in names
	Down   bool
	Ops    []float64 // commands per second that succeeded, by place in names
	Failed float64   // attempts per second that failed; most are run again
	Told   float64   // commands per second whose callers were told "unknown" or "no database"
	P99    float64   // seconds; NaN if nobody knows
}

// look adds a sample. The first look has nothing to compare with.
func (h *history) look(now time.Time, s multidb.Stats, p99 time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.before
	h.before = make(map[string]multidb.DatabaseStats, len(s.Databases))
	for _, d := range s.Databases {
		h.before[d.Name] = d
		if !slices.Contains(h.names, d.Name) {
			h.names = append(h.names, d.Name)
		}
	}
	passed := now.Sub(h.looked).Seconds()
	h.looked = now
	if before == nil || passed <= 0 {
		return
	}
	this := sample{
		At: now, Active: slices.Index(h.names, s.Active), Down: s.Down, Ops: make([]float64, len(h.names)), P99: math.NaN(),
	}
	if p99 > 0 {
		this.P99 = p99.Seconds()
	}
	for _, d := range s.Databases {
		b := before[d.Name] // a database that was added has counted from 0
		this.Ops[slices.Index(h.names, d.Name)] = float64(d.Successes-b.Successes) / passed
		this.Failed += float64(d.Failures-b.Failures) / passed
		this.Told += float64(d.Unknown+d.Refused-b.Unknown-b.Refused) / passed
	}
	if len(h.past) == samples {
		h.past = slices.Delete(h.past, 0, 1)
	}
	h.past = append(h.past, this)
}

// snapshot returns what can be read without a lock.
func (h *history) snapshot() (names []string, past []sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.names), slices.Clone(h.past)
}
