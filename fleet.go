package multidb

import (
	"context"
	"slices"
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
)

// fleet is all databases as the health of one of them sees them, see health.Fleet.
type fleet struct {
	h  *Hook
	db *database.Database
}

func (f fleet) Role() (active, down bool) {
	now := f.h.selector.Effective()
	return now != nil && now.DB == f.db, now != nil && now.Down
}

func (f fleet) Review()          { f.h.selector.Review() }
func (f fleet) Go(g func()) bool { return f.h.workers.Go(g) }

func (f fleet) Recheck() {
	for _, db := range f.h.selector.All() {
		db.Health.Recheck()
	}
}

func (f fleet) AmongReplicas() bool {
	now := f.h.selector.Effective()
	return now != nil && now.DB.Prober.Replica()
}

func (f fleet) Prefers() bool { return f.h.selector.Prefers(f.db) }

func (f fleet) SuspectOthers() {
	for _, db := range f.h.selector.All() {
		if db != f.db && db.Health.Usable() {
			db.Health.Suspect(health.SuspectedWith(f.db.Name))
		}
	}
}

func (f fleet) BestAlternative() <-chan struct{} {
	if best := f.h.selector.Best(f.alternatives(), f.db); best != nil {
		return best.Health.Pending()
	}
	return nil
}

func (f fleet) AlternativePasses(act health.Act) bool {
	for usable := f.alternatives(); ; {
		best := f.h.selector.Best(usable, f.db)
		if best == nil {
			return false
		}
		if act(best.Health) {
			return true
		}
		usable = slices.DeleteFunc(usable, func(other *database.Database) bool { return other == best })
	}
}

// alternatives are the usable databases besides this one.
func (f fleet) alternatives() []*database.Database {
	return slices.DeleteFunc(f.h.selector.Usable(), func(db *database.Database) bool { return db == f.db })
}

func (f fleet) HasAlternative() bool { return f.h.selector.HasAlternative(f.db) }

func (f fleet) Failback(ctx context.Context) {
	if !f.h.selector.Prefers(f.db) || !f.db.Health.GraceOver(time.Now()) || ctx.Err() != nil {
		return
	}
	if !f.h.opt.DryRun {
		f.h.prepare(f.db)
	}
	left := f.h.selector.Current().DB
	empty := f.db.Prober.Keys(ctx) == 0 && left.Prober.Keys(ctx) > 0
	f.h.selector.Failback(f.db)
	if empty && f.h.selector.Current().DB == f.db {
		f.h.events.returnsEmpty(f.db.Name, f.db.Endpoint().Addr)
	}
}

// listener makes events and log lines of what happens to the health of one database, see health.Listener.
type listener struct {
	events *dispatcher
	db     *database.Database
}

func (l listener) Suspected(cause error) { l.events.suspected(l.db.Name, cause) }

func (l listener) Changed(c health.Change) {
	l.events.health(HealthChange{
		Database: l.db.Name, State: BreakerState(c.State), From: BreakerState(c.From), Cause: c.Cause,
	}, l.db.Endpoint().Addr, c.Lasted)
}

func (l listener) Cleared(cause error, after time.Duration) {
	l.events.cleared(l.db.Name, cause, after)
}

func (l listener) Checked(err error, took time.Duration, quick bool) {
	l.events.checked(HealthCheck{Database: l.db.Name, Err: err, Took: took, Quick: quick})
}

func (l listener) OwnFault(err error)            { l.events.ownFault(l.db.Name, err) }
func (l listener) ProberCannotConnect(err error) { l.events.proberCannotConnect(l.db.Name, err) }
func (l listener) NowhereBetter(err error)       { l.events.nowhereBetter(l.db.Name, err) }

// Forbidden mentions that a check of the database is not permitted, now and every hour as long as that is so.
func (l listener) Forbidden(err error) {
	if l.db.MayMention(remindForbidden) {
		l.events.checkForbidden(l.db.Name, l.db.Endpoint().Addr, err)
	}
}
