package multidb

import (
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/selector"
)

// What the parts of the hook tell, as events and as lines of the log.

// The dispatcher is the listener of the selector, see selector.Listener.

// Started tells of the first choice.
func (d *dispatcher) Started(db *database.Database) { d.started(db.Name, db.Endpoint().Addr) }

// Switched tells of a switch.
func (d *dispatcher) Switched(s selector.Switch) {
	d.switched(Switch{
		From: s.From, To: s.To, Reason: Reason(s.Reason), Cause: s.Cause, Took: s.Took, Decided: s.Decided, Planned: s.Planned, DryRun: s.DryRun,
	})
}

// AllDown tells that no database is usable.
func (d *dispatcher) AllDown(cause error, dryRun bool) { d.allDown(cause, dryRun) }

// Recovered tells that one is again.
func (d *dispatcher) Recovered(db *database.Database, dryRun bool, lasted time.Duration) {
	d.recovered(db.Name, dryRun, lasted)
}

// Added tells of a new database.
func (d *dispatcher) Added(db *database.Database) {
	d.changed(Change{Kind: ChangeAdded, Database: db.Name, Weight: db.Weight()}, db.Endpoint().Addr)
}

// Removed tells of one that is gone.
func (d *dispatcher) Removed(db *database.Database) {
	d.changed(Change{Kind: ChangeRemoved, Database: db.Name, Weight: db.Weight()}, db.Endpoint().Addr)
}

// Weighted tells of a weight that was changed.
func (d *dispatcher) Weighted(db *database.Database, before float64) {
	d.changed(Change{Kind: ChangeWeight, Database: db.Name, Weight: db.Weight(), Before: before}, "")
}

// Pinned tells of a manual choice.
func (d *dispatcher) Pinned(db *database.Database, t time.Duration) {
	d.changed(Change{Kind: ChangePinned, Database: db.Name, Weight: db.Weight(), For: t}, "")
}

// Unpinned tells of its end.
func (d *dispatcher) Unpinned(db *database.Database, why selector.Unpinned) {
	d.changed(Change{Kind: ChangeUnpinned, Database: db.Name, Weight: db.Weight(), Why: string(why)}, "")
}

// listener makes events and log lines of what happens to the health of one database, see health.Listener.
type listener struct {
	events *dispatcher
	db     *database.Database
}

// Suspected and Changed are called with the lock that Remove takes, and not after it. The rest may be late: it is dropped.
func (l listener) Suspected(cause error) { l.events.suspected(l.db.Name, cause) }

func (l listener) Changed(c health.Change) {
	l.events.health(HealthChange{
		Database: l.db.Name, State: BreakerState(c.State), From: BreakerState(c.From), Cause: c.Cause,
	}, l.db.Endpoint().Addr, c.Lasted)
}

func (l listener) Cleared(cause error, after time.Duration) {
	if !l.db.Health.Removed() {
		l.events.cleared(l.db.Name, cause, after)
	}
}

func (l listener) Checked(err error, took time.Duration, quick bool) {
	if !l.db.Health.Removed() {
		l.events.checked(HealthCheck{Database: l.db.Name, Err: err, Took: took, Quick: quick})
	}
}

func (l listener) OwnFault(err error) {
	l.db.Traffic.OwnFaults.Add(1)
	l.events.ownFault(l.db.Name, err)
}
func (l listener) ProberCannotConnect(err error) { l.events.proberCannotConnect(l.db.Name, err) }
func (l listener) NowhereBetter(err error)       { l.events.nowhereBetter(l.db.Name, err) }

// remindForbidden is how often a check that is not permitted is mentioned.
const remindForbidden = time.Hour

// Forbidden mentions that a check of the database is not permitted, now and every hour as long as that is so.
func (l listener) Forbidden(err error) {
	if !l.db.Health.Removed() && l.db.MayMention(remindForbidden) {
		l.events.checkForbidden(l.db.Name, l.db.Endpoint().Addr, err)
	}
}
