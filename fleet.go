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
