package multidb

import (
	"time"

	"github.com/redishook/multidb/internal/selector"
)

// Candidate is a database in an election, as a [Strategy] sees it.
type Candidate struct {
	// Name of the database.
	Name string
	// Weight that it has now.
	Weight float64
	// Active is true for the database that is in use.
	Active bool
	// Latency is the smoothed round trip of its health probes; 0 if none has passed yet.
	Latency time.Duration
}

// Strategy chooses the database to use. Choose gets the usable ones, at least one, in the order of configuration, and
// returns the name of one of them. A failover leaves out databases whose last gate check failed, unless no other database is
// usable. Any other answer, or a panic, is replaced by that of [HighestWeight]. Choose is called without a lock, from several
// goroutines: it must be safe for concurrent use and must not block.
//
// The same question is asked to find out whether to move to a recovered or a preferred database. Then the
// candidates are the active one and the usable ones whose grace period is over (see [Failback]). Those that a
// check that only gates keeps out are left out. A strategy that prefers the active one among equals keeps ties
// where they are.
type Strategy interface {
	Choose(usable []Candidate) string
}

// HighestWeight is the default [Strategy]: it chooses the highest weight. Of equals it chooses the active one,
// then the one with the lower latency, then the first of the configuration. Safe for concurrent use.
type HighestWeight struct{}

// Choose returns the name of the best candidate.
func (HighestWeight) Choose(usable []Candidate) string {
	best := usable[0]
	for _, c := range usable[1:] {
		if c.outranks(best) {
			best = c
		}
	}
	return best.Name
}

// outranks reports whether c comes before d, which stands before it in the configuration.
func (c Candidate) outranks(d Candidate) bool {
	if c.Weight != d.Weight {
		return c.Weight > d.Weight
	}
	if c.Active != d.Active {
		return c.Active
	}
	return c.Latency > 0 && d.Latency > 0 && c.Latency < d.Latency
}

// strategyOf is a strategy as the selector asks it.
func strategyOf(s Strategy) selector.Strategy {
	return selector.Strategy{Choose: askedBy(s), Best: askedBy(HighestWeight{})}
}

func askedBy(s Strategy) func([]selector.Candidate) string {
	return func(usable []selector.Candidate) string {
		candidates := make([]Candidate, len(usable))
		for i, c := range usable {
			candidates[i] = Candidate(c)
		}
		return s.Choose(candidates)
	}
}
