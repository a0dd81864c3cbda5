package selector

import (
	"slices"
	"time"

	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
)

// A dry run makes every decision and carries out none. What would have been done is kept beside what is, because the next
// decision depends on it: after a failover that was only reported, a return is a failback, and the loss of the database
// that would be in use is an outage. Nothing but connections and commands looks at the real choice then.
//
// What it cannot know is what traffic would have met on a database that it was not on: there, only health checks have a say.

// Effective is the choice that decisions are made on: the current one, or in a dry run what it would be.
func (s *Selector) Effective() *Epoch {
	if would := s.shadow.Load(); would != nil {
		return would
	}
	return s.active.Load()
}

// shadowsOnly reports whether a dry run only says that it would move: if nobody has asked for it, or if the database asked for
// is the one that is in use.
func shadowsOnly(now *Epoch, to *database.Database, reason Reason) bool {
	switch reason {
	case Manual, Removed:
		return now.DB == to && !now.Down
	}
	return now.Number > 0
}

// shadowMove is publish in a dry run. Everything that follows from a move for later decisions follows from this one too, so
// that the next one is the one that would have come next; connections stay where they are.
func (s *Selector) shadowMove(to *database.Database, down, planned bool, reason Reason, cause error) func() {
	old := s.Effective()
	event := describe(old, to, planned, reason, cause)
	event.DryRun = true
	s.moved(to, reason)
	s.shadow.Store(&Epoch{Term: conn.Term{Number: old.Number + 1}, DB: to, Down: down, At: time.Now(), Reason: reason, Planned: planned})
	to.Health.Nudge()
	s.announce(event, old, to, down)
	all := slices.Clone(s.dbs)
	return func() {
		if to != old.DB {
			to.Traffic.Reset()
		}
		if down {
			nudgeAll(all)
		}
	}
}

func nudgeAll(dbs []*database.Database) {
	for _, db := range dbs {
		db.Health.Nudge()
	}
}
