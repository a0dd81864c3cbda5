package multidb

import (
	"slices"
	"time"

	"github.com/redishook/multidb/internal/conn"
)

// A dry run makes every decision and carries out none. What would have been done is kept beside what is, because the next
// decision depends on it: after a failover that was only reported, a return is a failback, and the loss of the database
// that would be in use is an outage. Nothing but connections and commands looks at the real choice then.
//
// What it cannot know is what traffic would have met on a database that it was not on: there, only health checks have a say.

// effective is the choice that decisions are made on: the current one, or in a dry run what it would be.
func (s *selector) effective() *epoch {
	if would := s.shadow.Load(); would != nil {
		return would
	}
	return s.h.active.Load()
}

// shadowsOnly reports whether a dry run only says that it would move: if nobody has asked for it, or if the database asked for
// is the one that is in use.
func (s *selector) shadowsOnly(to *database, reason Reason) bool {
	now := s.h.active.Load()
	switch reason {
	case ReasonManual, ReasonRemoved:
		return now.db == to && !now.down
	}
	return now.Number > 0
}

// shadowMove is publish in a dry run. Everything that follows from a move for later decisions follows from this one too, so
// that the next one is the one that would have come next; connections stay where they are.
func (s *selector) shadowMove(to *database, down, planned bool, reason Reason, cause error) func() {
	old := s.effective()
	event := describe(old, to, planned, reason, cause)
	event.DryRun = true
	s.moved(to, reason)
	s.shadow.Store(&epoch{Term: conn.Term{Number: old.Number + 1}, db: to, down: down, at: time.Now(), reason: reason, planned: planned})
	to.health.Nudge()
	s.announce(event, old, down)
	all := slices.Clone(s.dbs)
	return func() {
		if to != old.db {
			to.traffic.Reset()
		}
		if down {
			nudgeAll(all)
		}
	}
}
