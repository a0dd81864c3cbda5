package selector

import (
	"fmt"
	"slices"
	"time"

	"github.com/redishook/multidb/internal/database"
)

// Choices that are made by hand.

// Pin makes db the manual choice, for d or until released. The database may have failed since the caller looked: without
// force it is not moved to then, with force its breaker is closed. That is decided under mu, so that evidence against the
// database is either seen here or reviewed by whoever has it after the choice.
func (s *Selector) Pin(db *database.Database, d time.Duration, force bool) error {
	done, err := s.pinLocked(db, d, force)
	done()
	s.Review()
	return err
}

func (s *Selector) pinLocked(db *database.Database, d time.Duration, force bool) (done func(), err error) {
	done = func() {}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return done, database.ErrClosed
	case db.Health.Removed():
		return done, Gone(db)
	case force:
		db.Health.Force()
	case !db.Health.Usable():
		return done, NotHealthy(db, db.Health.Trouble())
	}
	if s.pinned == db {
		s.dropPin("") // the same again: it goes on
	}
	s.dropPin(Replaced)
	s.pinned = db
	s.pinNumber++
	s.cfg.Listener.Pinned(db, d)
	if this := s.pinNumber; d > 0 {
		s.unpinTimer = time.AfterFunc(d, func() { s.Unpin(this) })
	}
	s.version++
	now, stands := s.active.Load(), s.Effective()
	if now.DB != db || now.Down || stands.DB != db || stands.Down {
		done = s.publish(db, false, now.DB.Health.Usable() && !now.Down, Manual, nil)
	}
	return done, nil
}

// Gone is the error of a method of control whose database has been removed meanwhile.
func Gone(db *database.Database) error { return fmt.Errorf("%w %q", database.ErrUnknown, db.Name) }

// NotHealthy is the error of a method of control whose database is not usable.
func NotHealthy(db *database.Database, err error) error {
	return fmt.Errorf("multidb: database %q is not healthy, so it was not made active: %w", db.Name, err)
}

// Unpin ends the manual choice with that number, or whichever it is if the number is 0.
func (s *Selector) Unpin(which uint64) {
	s.mu.Lock()
	if which != 0 && which != s.pinNumber {
		s.mu.Unlock()
		return
	}
	why := TimeOver
	if which == 0 {
		why = Released
	}
	s.dropPin(why)
	s.version++
	dbs := slices.Clone(s.dbs)
	s.mu.Unlock()
	recheckAll(dbs)
}

// SetWeight changes the weight of a database, and has all checked: a choice may follow.
func (s *Selector) SetWeight(db *database.Database, weight float64) {
	s.mu.Lock()
	before := db.Weight()
	db.SetWeight(weight)
	s.version++
	s.cfg.Listener.Weighted(db, before)
	dbs := slices.Clone(s.dbs)
	s.mu.Unlock()
	recheckAll(dbs)
}

// recheckAll asks for a regular check of each now, because what a choice is made of has changed.
func recheckAll(dbs []*database.Database) {
	for _, db := range dbs {
		db.Health.Recheck()
	}
}
