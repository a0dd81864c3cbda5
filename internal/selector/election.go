package selector

import (
	"slices"
	"time"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/database"
)

// Candidate is a database in an election.
type Candidate struct {
	Name    string
	Weight  float64
	Active  bool
	Latency time.Duration
}

// Strategy chooses among usable databases.
type Strategy struct {
	Choose func([]Candidate) string // the user's: it may panic, or answer anything
	Best   func([]Candidate) string // has the word then
}

// passing leaves out the databases that a gate has kept out the last time it was asked, unless there are no others: an
// outage is worse than data that lags. The gates are not asked now, because a failover waits for nobody.
func passing(usable []*database.Database) []*database.Database {
	open := slices.DeleteFunc(slices.Clone(usable), func(db *database.Database) bool { return db.Health.Gate() != nil })
	if len(open) == 0 {
		return usable
	}
	return open
}

// choose asks the strategy, and Best where the strategy has no usable answer.
func choose(s Strategy, dbs []*database.Database, active *database.Database) *database.Database {
	return chooseBy(s, dbs, active, (*database.Database).Weight)
}

// chooseBy is choose with other weights.
func chooseBy(s Strategy, dbs []*database.Database, active *database.Database, weight func(*database.Database) float64) *database.Database {
	if len(dbs) == 0 {
		return nil
	}
	candidates := make([]Candidate, len(dbs))
	for i, db := range dbs {
		candidates[i] = Candidate{
			Name: db.Name, Weight: weight(db), Active: db == active, Latency: db.Prober.RoundTrip(),
		}
	}
	for _, name := range []string{s.ask(candidates), s.Best(candidates)} {
		for _, db := range dbs {
			if db.Name == name {
				return db
			}
		}
	}
	return nil
}

// ask contains a panic of the user's strategy.
func (s Strategy) ask(candidates []Candidate) (name string) {
	return callback.Ask(func() string { return s.Choose(append([]Candidate(nil), candidates...)) }, "")
}

// Usable returns the databases that may be moved to.
func (s *Selector) Usable() []*database.Database {
	usable, _, _, _ := s.situation()
	return usable
}

// Best returns the database of several that a failover from active would move to; nil if there is none.
func (s *Selector) Best(usable []*database.Database, active *database.Database) *database.Database {
	return choose(s.cfg.Strategy, passing(usable), active)
}

// Choose asks a strategy, of databases none of which is the active one.
func Choose(s Strategy, dbs []*database.Database) *database.Database { return choose(s, dbs, nil) }
