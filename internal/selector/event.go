package selector

import (
	"time"

	"github.com/redishook/multidb/internal/database"
)

// What is told of a move.

// Reason says why an epoch was published. The values are those that users see.
type Reason string

// The reasons.
const (
	HealthCheck     Reason = "health_check"
	FailureDetector Reason = "failure_detector"
	Failback        Reason = "failback"
	Manual          Reason = "manual"
	Weight          Reason = "weight"
	Removed         Reason = "removed"
)

// Switch is the move from one database to another.
type Switch struct {
	From, To        string
	Reason          Reason
	Cause           error         // nil if the old database did not fail
	Took            time.Duration // what users have felt; 0: nothing
	Decided         time.Duration // what the decision took of that
	Planned, DryRun bool
}

// Unpinned is what ends a manual choice; empty: nothing that is worth telling.
type Unpinned string

// What ends a manual choice. The values are those that users see.
const (
	Released Unpinned = "released"
	TimeOver Unpinned = "over"
	Replaced Unpinned = "replaced"
	Left     Unpinned = "left"
)

// Listener is told what happens. All methods are called with the lock of the selector held, so that the order of what is told is
// that of what has happened: they may only put something into a queue.
type Listener interface {
	Started(db *database.Database)
	Switched(s Switch)
	AllDown(cause error, dryRun bool)
	Recovered(db *database.Database, dryRun bool, lasted time.Duration)
	Added(db *database.Database)
	Removed(db *database.Database)
	Weighted(db *database.Database, before float64)
	Pinned(db *database.Database, d time.Duration)
	Unpinned(db *database.Database, why Unpinned)
}

// describe is the event of a move, as far as it is known before the move.
func describe(old *Epoch, to *database.Database, planned bool, reason Reason, cause error) Switch {
	event := Switch{From: old.DB.Name, To: to.Name, Reason: reason, Cause: cause, Planned: planned}
	if planned {
		return event
	}
	now := time.Now()
	at, suspected := old.DB.Health.SuspectedAt()
	if suspected {
		event.Decided = now.Sub(at)
	}
	if since, failing := old.DB.Traffic.FailingSince(now); failing {
		event.Took = max(now.Sub(since), event.Decided)
	}
	return event
}

// took adds the time that the move itself has taken.
func (s *Switch) took(began time.Time) {
	if s.Planned {
		return
	}
	moving := time.Since(began)
	s.Decided += moving
	if s.Took > 0 {
		s.Took += moving
	}
}

// moved notes what decisions after a move are made on. Caller must hold mu.
func (s *Selector) moved(to *database.Database, reason Reason) {
	s.version++
	if to != s.pinned {
		why := Left
		if reason == Manual {
			why = Replaced
		}
		s.dropPin(why)
	}
	for _, db := range s.dbs {
		db.WeightAtLastSwitch = db.Weight()
	}
}

// announce counts the change and puts its event into the queue, whose order is that of the changes because mu is held.
func (s *Selector) announce(event Switch, old *Epoch, to *database.Database, down bool) {
	switch {
	case down:
		s.cfg.Listener.AllDown(event.Cause, event.DryRun)
		return
	case old.Number == 0:
		s.cfg.Listener.Started(to)
		return
	case old.Down:
		s.cfg.Listener.Recovered(to, event.DryRun, time.Since(old.At).Round(time.Millisecond))
	}
	if event.From != event.To {
		s.switches[event.Reason]++
		s.cfg.Listener.Switched(event)
	}
}
