package multidb

import (
	"context"
	"slices"
	"time"

	"github.com/redishook/multidb/internal/health"
)

// fleet is all databases as the health of one of them sees them, see health.Fleet.
type fleet struct {
	h  *Hook
	db *database
}

func (f fleet) Role() (active, down bool) {
	now := f.h.selector.effective()
	return now != nil && now.db == f.db, now != nil && now.down
}

func (f fleet) active() bool {
	active, _ := f.Role()
	return active
}

func (f fleet) Review()          { f.h.selector.review() }
func (f fleet) Go(g func()) bool { return f.h.workers.Go(g) }
func (f fleet) Recheck()         { recheckAll(f.h.selector.all()) }
func (f fleet) AmongReplicas() bool {
	now := f.h.selector.effective()
	return now != nil && now.db.prober.Replica()
}

func (f fleet) Prefers() bool { return f.h.selector.prefers(f.db) }

func (f fleet) SuspectOthers() {
	for _, db := range f.h.selector.all() {
		if db != f.db && db.health.Usable() {
			db.health.Suspect(health.SuspectedWith(f.db.name))
		}
	}
}

func (f fleet) BestAlternative() <-chan struct{} {
	if best := f.best(f.alternatives()); best != nil {
		return best.health.Pending()
	}
	return nil
}

func (f fleet) AlternativePasses(act health.Act) bool {
	for usable := f.alternatives(); ; {
		best := f.best(usable)
		if best == nil {
			return false
		}
		if best.health.Passes(act) {
			return true
		}
		usable = slices.DeleteFunc(usable, func(other *database) bool { return other == best })
	}
}

// alternatives are the usable databases besides this one.
func (f fleet) alternatives() []*database {
	usable, _, _, _ := f.h.selector.snapshot()
	return slices.DeleteFunc(usable, func(db *database) bool { return db == f.db })
}

// best is the one that a failover would move to; nil if there is none.
func (f fleet) best(usable []*database) *database {
	return choose(f.h.opt.Strategy, passing(usable), f.db)
}

func (f fleet) HasAlternative() bool { return f.h.selector.hasAlternative(f.db) }

func (f fleet) Failback(ctx context.Context) {
	if !f.h.selector.prefers(f.db) || !f.db.health.GraceOver(time.Now()) || ctx.Err() != nil {
		return
	}
	if !f.h.opt.DryRun {
		f.h.prepare(f.db)
	}
	f.h.selector.failback(f.db)
}

// listener makes events and log lines of what happens to the health of one database, see health.Listener.
type listener struct {
	events *dispatcher
	db     *database
}

func (l listener) Suspected(cause error) { l.events.suspected(l.db.name, cause) }

func (l listener) Changed(c health.Change) {
	l.events.health(HealthChange{
		Database: l.db.name, State: BreakerState(c.State), From: BreakerState(c.From), Cause: c.Cause,
	}, l.db.endpoint().Addr, c.Lasted)
}

func (l listener) Cleared(cause error, after time.Duration) {
	l.events.cleared(l.db.name, cause, after)
}

func (l listener) Checked(err error, took time.Duration, quick bool) {
	l.events.checked(HealthCheck{Database: l.db.name, Err: err, Took: took, Quick: quick})
}

func (l listener) OwnFault(err error)            { l.events.ownFault(l.db.name, err) }
func (l listener) ProberCannotConnect(err error) { l.events.proberCannotConnect(l.db.name, err) }
func (l listener) NowhereBetter(err error)       { l.events.nowhereBetter(l.db.name, err) }

// Forbidden mentions that a check of the database is not permitted, now and every hour as long as that is so.
func (l listener) Forbidden(err error) {
	now, last := int64(time.Since(l.db.clockStart))+1, l.db.forbiddenTold.Load()
	if last > 0 && time.Duration(now-last) < remindForbidden || !l.db.forbiddenTold.CompareAndSwap(last, now) {
		return
	}
	l.events.checkForbidden(l.db.name, l.db.endpoint().Addr, err)
}

func nudgeAll(dbs []*database) {
	for _, db := range dbs {
		db.health.Nudge()
	}
}

// recheckAll asks for a regular check of each now, because what a choice is made of has changed.
func recheckAll(dbs []*database) {
	for _, db := range dbs {
		db.health.Recheck()
	}
}
