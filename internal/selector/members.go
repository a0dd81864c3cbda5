package selector

import (
	"fmt"
	"slices"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/probes"
)

// Which databases there are, and what each of them is asked.

// Add puts a database behind the others, unless anything has moved since that version.
func (s *Selector) Add(db *database.Database, version uint64) (added bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, database.ErrClosed
	}
	if s.lookup(db.Name) != nil {
		return false, fmt.Errorf("multidb: Add: Database.Name = %q: is in use already", db.Name)
	}
	if s.version != version {
		return false, nil
	}
	db.Order = s.dbs[len(s.dbs)-1].Order + 1
	db.WeightAtLastSwitch = db.Weight()
	s.dbs = append(s.dbs, db)
	s.version++
	s.cfg.Listener.Added(db)
	return true, nil
}

// Remove takes a database out unless it is active (false, nil) or the last one.
func (s *Selector) Remove(db *database.Database) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return false, database.ErrClosed
	case s.lookup(db.Name) != db:
		return false, Gone(db)
	case len(s.dbs) == 1:
		return false, fmt.Errorf("multidb: database %q is the last one and cannot be removed", db.Name)
	case s.active.Load().DB == db:
		return false, nil
	}
	db.Health.Remove()
	if s.Effective().DB == db {
		s.shadow.Store(nil) // a dry run goes on from where we are
	}
	s.dbs = slices.DeleteFunc(slices.Clone(s.dbs), func(d *database.Database) bool { return d == db })
	s.version++
	s.cfg.Listener.Removed(db)
	return true, nil
}

// Leave moves from db to another database because db is to be removed.
func (s *Selector) Leave(db, to *database.Database) {
	s.mu.Lock()
	done := func() {}
	now := s.active.Load()
	if !s.closed && now.DB == db && to.Health.Usable() {
		done = s.publish(to, false, !now.Down && db.Health.Usable(), Removed, nil)
	}
	s.mu.Unlock()
	done()
}

// EditChecks replaces the checks of all databases, and those that later ones get, and returns what they were. Probes say by functions
// of a user's what they are, so the new checks are made without the lock. They are made anew if anything has moved: somebody else
// may have removed the same ones meanwhile.
func (s *Selector) EditChecks(edit func(probes.Checks) probes.Checks) (before probes.Checks, err error) {
	for {
		s.mu.Lock()
		version, dbs, later, closed := s.version, slices.Clone(s.dbs), s.checks, s.closed
		s.mu.Unlock()
		if closed {
			return nil, database.ErrClosed
		}
		before = slices.Clone(later)
		later = edit(later)
		sets := make([]*prober.Checks, len(dbs))
		for i, db := range dbs {
			all := db.Prober.Checks().All
			before = append(before, all...)
			sets[i] = db.Prober.NewChecks(edit(all))
		}
		if s.storeChecks(version, later, dbs, sets) {
			recheckAll(dbs)
			return before, nil
		}
	}
}

func (s *Selector) storeChecks(version uint64, later probes.Checks, dbs []*database.Database, sets []*prober.Checks) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version != version {
		return false
	}
	s.version++
	s.checks = later
	for i, db := range dbs {
		db.Prober.SetChecks(sets[i])
	}
	return true
}

// LaterChecks are those of a database that is added now and has none of its own.
func (s *Selector) LaterChecks() (checks probes.Checks, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks, s.version
}
