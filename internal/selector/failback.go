package selector

import (
	"time"

	"github.com/redishook/multidb/internal/database"
)

// The planned return to a database that the strategy prefers.

// Prefers reports whether db would be moved to, once its grace period is over: the strategy is asked about all that
// may be moved to, so that one move leads to the best of them.
func (s *Selector) Prefers(db *database.Database) bool {
	dbs, active := s.candidates(db)
	return active != nil && choose(s.cfg.Strategy, dbs, active) == db
}

// candidates are what a planned move to db is an answer to: the active database, db, and all others whose grace period is
// over and which no gate keeps out. There is no active one in the answer if no planned move may be made now.
func (s *Selector) candidates(db *database.Database) (dbs []*database.Database, active *database.Database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Effective()
	if !s.started || s.closed || s.pinned != nil || now.Down || now.DB == db || !now.DB.Health.Usable() {
		return nil, nil
	}
	for _, other := range s.dbs {
		if other == db || other == now.DB || other.Health.GraceOver(time.Now()) && other.Health.GateError() == nil {
			dbs = append(dbs, other)
		}
	}
	return dbs, now.DB
}

// Failback moves to db as planned, if all that spoke for it still does.
func (s *Selector) Failback(db *database.Database) {
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	dbs, active := s.candidates(db)
	if active == nil || choose(s.cfg.Strategy, dbs, active) != db {
		return
	}
	reason := s.whyPreferred(db, dbs, active)
	s.mu.Lock()
	if s.version != version || !db.Health.GraceOver(time.Now()) || !s.Effective().DB.Health.Usable() {
		s.mu.Unlock()
		return
	}
	done := s.publish(db, false, true, reason, nil)
	s.mu.Unlock()
	done()
}

// whyPreferred tells a failback from a move that a change of weights has caused: with the weights as they were at the last
// choice, the strategy would not move there.
func (s *Selector) whyPreferred(db *database.Database, dbs []*database.Database, active *database.Database) Reason {
	s.mu.Lock()
	before := make(map[*database.Database]float64, len(dbs))
	for _, other := range dbs {
		before[other] = other.WeightAtLastSwitch
	}
	s.mu.Unlock()
	if chooseBy(s.cfg.Strategy, dbs, active, func(d *database.Database) float64 { return before[d] }) == db {
		return Failback
	}
	return Weight
}
