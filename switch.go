package multidb

import (
	"context"
	"time"
)

// sweep does to connections what a switch has decided. It runs after the new choice is visible, without a lock: a
// connection that is admitted meanwhile belongs to the new choice, and those it meets do not.
func (h *Hook) sweep(old *epoch, to *database, down, planned, drains bool) {
	h.followEpoch()
	switch {
	case old.db == to && !down:
		// The end of an outage, at the same place: its connections were closed when it began.
		return
	case !drains || h.opt.DrainTimeout < 0:
		old.db.conns.Cut(old.Number)
	default:
		if planned {
			old.db.conns.CutSubscribed(old.Number)
		} else {
			old.db.conns.CutStuck(old.Number) // no new connection can be made, and the others may work
		}
		h.workers.Go(func() { h.drain(old) })
	}
	if down {
		nudgeAll(h.selector.all())
	}
}

// drain lets sessions on the old database finish, and closes what is left of them in the end.
func (h *Hook) drain(old *epoch) {
	ctx, cancel := context.WithTimeout(h.ctx, h.opt.DrainTimeout)
	defer cancel()
	h.moveWaiting(ctx, old)
	<-ctx.Done()
	if h.isClosed() {
		// A closed hook lets everything through: what is in flight ends as it may, and sessions go on.
		return
	}
	if h.active.Load().db == old.db {
		return // back again meanwhile, so they are good connections
	}
	old.db.conns.EndDrain(old.Number)
}

// moveWaiting has the commands move that wait on a database which was left and may still be used. Where CLIENT UNBLOCK is not
// permitted they end by themselves, or with the drain.
func (h *Hook) moveWaiting(ctx context.Context, old *epoch) {
	if old.db.cluster != nil {
		return // the numbers of connections are those of its nodes
	}
	err := h.waiting.Move(ctx, old.db.prober.Unblock,
		func() []int64 { return old.db.conns.Waiting(old.Number) },
		func(n uint64) { old.db.traffic.Unblocked.Add(n) },
		func() bool { return h.active.Load().db == old.db }) // back again, and the next drain is another one
	if err != nil {
		h.events.notUnblocked(old.db.name, err)
	}
}

// prefers reports whether db would be moved to, once its grace period is over: the strategy is asked about all that
// may be moved to, so that one move leads to the best of them.
func (s *selector) prefers(db *database) bool {
	dbs, active := s.candidates(db)
	return active != nil && choose(s.h.opt.Strategy, dbs, active) == db
}

// candidates are what a planned move to db is an answer to: the active database, db, and all others whose grace period is
// over and which no gate keeps out. There is no active one in the answer if no planned move may be made now.
func (s *selector) candidates(db *database) (dbs []*database, active *database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.effective()
	if !s.started || s.closed || s.pinned != nil || now.down || now.db == db || !now.db.health.Usable() {
		return nil, nil
	}
	for _, other := range s.dbs {
		if other == db || other == now.db || other.health.GraceOver(time.Now()) && other.health.GateError() == nil {
			dbs = append(dbs, other)
		}
	}
	return dbs, now.db
}

// failback moves to db as planned, if all that spoke for it still does.
func (s *selector) failback(db *database) {
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	dbs, active := s.candidates(db)
	if active == nil || choose(s.h.opt.Strategy, dbs, active) != db {
		return
	}
	reason := s.whyPreferred(db, dbs, active)
	s.mu.Lock()
	if s.version != version || !db.health.GraceOver(time.Now()) || !s.effective().db.health.Usable() {
		s.mu.Unlock()
		return
	}
	done := s.publish(db, false, true, reason, nil)
	s.mu.Unlock()
	done()
}

// whyPreferred tells a failback from a move that a change of weights has caused: with the weights as they were at the last
// choice, the strategy would not move there.
func (s *selector) whyPreferred(db *database, dbs []*database, active *database) Reason {
	s.mu.Lock()
	before := make(map[*database]float64, len(dbs))
	for _, other := range dbs {
		before[other] = other.weightAtLastSwitch
	}
	s.mu.Unlock()
	if chooseBy(s.h.opt.Strategy, dbs, active, func(d *database) float64 { return before[d] }) == db {
		return ReasonFailback
	}
	return ReasonWeight
}
