package multidb

import "slices"

// A dry run makes every decision and carries out none. What would have been done is kept beside what is, because the next
// decision depends on it: after a failover that was only reported, a return is a failback, and the loss of the database
// that would be in use is an outage. Nothing but connections and commands looks at the real choice then.
//
// What it cannot know is what traffic would have met on a database that it was not on: there, only health checks have a say.

// standing is the choice that decisions are made on: the current one, or in a dry run what it would be.
func (s *selector) standing() *choice {
	if would := s.pretended.Load(); would != nil {
		return would
	}
	return s.h.active.Load()
}

// pretends reports whether a dry run only says that it would move: if nobody has asked for it, or if the database asked for
// is the one that is in use.
func (s *selector) pretends(to *database, reason Reason) bool {
	now := s.h.active.Load()
	switch reason {
	case ReasonManual, ReasonRemoved:
		return now.db == to && !now.down
	}
	return now.seq > 0
}

// pretend is publish in a dry run. Everything that follows from a move for later decisions follows from this one too, so
// that the next one is the one that would have come next; connections stay where they are.
func (s *selector) pretend(to *database, down, planned bool, reason Reason, cause error) func() {
	old := s.standing()
	event := describe(old, to, planned, reason, cause)
	event.DryRun = true
	s.moved(to)
	s.pretended.Store(&choice{db: to, down: down, seq: old.seq + 1, reason: reason, planned: planned})
	to.nudge()
	s.announce(event, old, down)
	all := slices.Clone(s.dbs)
	return func() {
		if to != old.db {
			to.resetDetectors()
		}
		if down {
			nudgeAll(all)
		}
	}
}
