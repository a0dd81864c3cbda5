package multidb

import (
	"time"

	"github.com/redishook/multidb/window"
)

// What real traffic says about a database, and what follows from it.

// failed counts a failure of the database, makes it suspect, and asks the detectors: a PING that passes does not
// overrule traffic that keeps failing.
func (h *Hook) failed(db *database, cause error) {
	db.traffic.Failures.Add(1)
	h.suspect(db, cause)
	h.consult(db, 1)
}

// failedAs counts a failure by its kind.
func (db *database) failedAs(kind outcome) {
	switch kind {
	case notSent:
		db.traffic.NotSent.Add(1)
	case cannotServe, cannotServeInside, refusedHere:
		db.traffic.CannotServe.Add(1)
	case lost:
		db.traffic.Unanswered.Add(1)
	}
}

// consult gives the detectors what has been counted since the last time and acts on their verdicts.
func (h *Hook) consult(db *database, failures uint64) {
	generation := db.currentGeneration()
	verdict := db.traffic.Sample(failures)
	if !verdict.Failing || !h.isActive(db) {
		return
	}
	if db.cluster != nil {
		h.reconsider(db, generation, verdict)
		return
	}
	h.tripByTraffic(db, generation, verdict)
}

// tripByTraffic acts on the verdict of a detector, if there is another database to go to. If there is none, failing
// traffic is still better than none, and the callers see the errors themselves.
func (h *Hook) tripByTraffic(db *database, generation uint64, verdict window.Verdict) {
	if !h.selector.hasAlternative(db) {
		db.traffic.Reset()
		return
	}
	h.trip(db, generation, ReasonFailureDetector, &detectorError{verdict.Reason, db.failing.lastError(time.Now())})
}

// monitorInterval is the resolution of stall detection and of the detectors' successes.
const monitorInterval = 50 * time.Millisecond

// restInterval is monitorInterval while nothing happens. A process that does nothing but wait wakes up for little else.
const restInterval = 5 * monitorInterval

// monitor watches the active database for stalls and carries the counted successes to its detectors. After a whole look
// at which nothing was outstanding and nothing had happened it rests, until the next request stirs it.
func (h *Hook) monitor() {
	timer := time.NewTimer(monitorInterval)
	defer timer.Stop()
	var s stall
	var said reminders
	for ticks := 0; ; ticks++ {
		stirred := false
		select {
		case <-h.ctx.Done():
			return
		case <-timer.C:
		case <-h.monitorWake:
			stirred = true
		}
		resting := h.resting.Swap(false)
		now := h.active.Load()
		before := s
		if !now.down {
			h.watchForStall(&s, now.db, resting || stirred)
			h.watchNodesForStall(now.db, resting || stirred)
		}
		if resting || ticks%2 == 0 {
			h.consult(now.db, 0)
			h.warnIfUnrouted(now.db)
			h.remind(&said, time.Now())
		}
		if !stirred && s.db == before.db && s.reads == before.reads && !s.outstanding {
			// In this order: a request that begins now either finds the monitor at rest or is found by it.
			h.resting.Store(true)
			if _, outstanding := now.db.conns.Progress(); !outstanding {
				timer.Reset(min(h.untilSlot(restInterval), 2*restInterval))
				continue
			}
			h.resting.Store(false)
		}
		timer.Reset(monitorInterval)
	}
}

// wakeMonitor wakes the monitor up, if it rests, because something is outstanding now. One atomic load otherwise.
func (h *Hook) wakeMonitor() {
	if h.resting.Load() && h.resting.CompareAndSwap(true, false) {
		select {
		case h.monitorWake <- struct{}{}:
		default:
		}
	}
}

// watchForStall makes a database suspect that owes replies and is silent. After a rest nobody knows since when it owes
// them.
func (h *Hook) watchForStall(s *stall, db *database, rested bool) {
	quiet := s.look(db, time.Now(), rested)
	if limit := h.opt.Health.StallTimeout; limit > 0 && quiet >= db.scaled(limit) {
		h.suspect(db, stallError(quiet))
		s.suspected(time.Now(), h.opt.Health.ActiveInterval-limit)
	}
}

// stallError is the evidence that requests are outstanding and nothing comes back.
type stallError time.Duration

func (e stallError) Error() string {
	return "requests outstanding and no byte read for " + time.Duration(e).Round(time.Millisecond).String()
}

// stall measures how long requests have been outstanding without one byte being read from the database.
type stall struct {
	db          *database
	reads       uint64
	since       time.Time
	outstanding bool
}

// look returns how long the database has been silent although it owes replies.
func (s *stall) look(db *database, now time.Time, rested bool) time.Duration {
	reads, outstanding := db.conns.Progress()
	if db == s.db && reads != s.reads {
		db.served.Store(int64(now.Sub(db.clockStart)))
		db.heard(now)
	}
	if db != s.db || reads != s.reads || !outstanding || rested {
		s.db, s.reads, s.since = db, reads, now
	}
	s.outstanding = outstanding
	return now.Sub(s.since)
}

// suspected puts off the next suspicion of the same silence: blocking commands are silent by nature.
func (s *stall) suspected(now time.Time, rest time.Duration) {
	s.since = now.Add(max(0, rest))
}
