package multidb

import (
	"context"
	"log/slog"
	"time"

	"github.com/redishook/multidb/internal/callback"
)

// Reason says why a switch was made.
type Reason string

// The reasons of a switch.
const (
	ReasonHealthCheck     Reason = "health_check"     // the active database failed its probes
	ReasonFailureDetector Reason = "failure_detector" // real traffic kept failing on it
	ReasonFailback        Reason = "failback"         // a preferred database has recovered
	ReasonManual          Reason = "manual"           // SetActive or ForceActive
	ReasonWeight          Reason = "weight"           // SetWeight made another one preferred
	ReasonRemoved         Reason = "removed"          // the active database was removed
)

// Switch is the move from one active database to another.
type Switch struct {
	// From and To are names of databases.
	From, To string
	// Reason says why.
	Reason Reason
	// Cause is what the old database failed with; nil if it did not fail.
	Cause error
	// Took is the time from the first evidence against the old database (or from the decision, if planned) until the
	// new one was in use.
	Took time.Duration
	// Planned is true if the old database was healthy: sessions finish there, nothing is lost.
	Planned bool
	// DryRun is true if this is only what would have been done: see Options.DryRun.
	DryRun bool
}

// HealthChange is a database becoming usable or unusable.
type HealthChange struct {
	// Database is its name.
	Database string
	// State is BreakerClosed (usable) or BreakerOpen, From what it was before.
	State, From BreakerState
	// Cause is why it is not usable; nil if it is.
	Cause error
}

// HealthCheck is one check of a database.
type HealthCheck struct {
	// Database is its name.
	Database string
	// Err is why it has failed; nil if it has passed.
	Err error
	// Took is how long it has taken.
	Took time.Duration
	// Quick is true for a single PING that settles a suspicion, or asks the active database whether it is alive. It is false
	// for a run of the checks that the database has (see Health.Checks).
	Quick bool
}

// Events are functions to call when something happens; each may be nil. They are called one after the other, in the
// order of what happened, from one goroutine that holds no lock: they may call every method of the hook except Close,
// and a slow one delays later events but no command. A panic is logged and contained. Close waits for them, for 5 s at
// most; one that has not returned by then is left to itself.
type Events struct {
	// OnSwitch: the active database has changed.
	OnSwitch func(Switch)
	// OnHealth: a database has become usable or unusable.
	OnHealth func(HealthChange)
	// OnAllDown: no database is usable; cause is what the one that was active last failed with. In a dry run as well,
	// although no command is refused then.
	OnAllDown func(cause error)
	// OnRecovered: after OnAllDown, database is in use; in a dry run, it would be.
	OnRecovered func(database string)
	// OnCheck: a database was checked. It is called several times a second while databases are down.
	OnCheck func(HealthCheck)
}

// dispatcher tells the log and the subscribers what happens. Its queue keeps the order of what has happened.
type dispatcher struct {
	*callback.Queue
	subscribers subscribers
}

func newDispatcher(user Events, log *slog.Logger) *dispatcher {
	d := &dispatcher{Queue: callback.New(log)}
	d.subscribers.all = []*Events{&user}
	return d
}

func (d *dispatcher) switched(s Switch) {
	d.Push(func() {
		d.Log.Log(context.Background(), s.Reason.level(), "multidb: switched", "from", s.From, "to", s.To, "reason", string(s.Reason),
			"took", s.Took, "planned", s.Planned, "dry_run", s.DryRun, "cause", s.Cause)
		d.tell(func(e *Events) {
			if e.OnSwitch != nil {
				e.OnSwitch(s)
			}
		})
	})
}

// level is that of the log line of a switch: a switch is worth a warning whoever asked for it, because data may differ
// from here on, and the return to where one wants to be is not.
func (r Reason) level() slog.Level {
	if r == ReasonFailback {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func (d *dispatcher) health(c HealthChange) {
	d.Push(func() {
		d.Log.Info("multidb: health changed", "database", c.Database, "state", string(c.State), "cause", c.Cause)
		d.tell(func(e *Events) {
			if e.OnHealth != nil {
				e.OnHealth(c)
			}
		})
	})
}

func (d *dispatcher) allDown(cause error, dry bool) {
	d.Push(func() {
		d.Log.Error("multidb: no database is usable", "dry_run", dry, "cause", cause)
		d.tell(func(e *Events) {
			if e.OnAllDown != nil {
				e.OnAllDown(cause)
			}
		})
	})
}

func (d *dispatcher) recovered(database string, dry bool) {
	d.Push(func() {
		d.Log.Warn("multidb: recovered", "database", database, "dry_run", dry)
		d.tell(func(e *Events) {
			if e.OnRecovered != nil {
				e.OnRecovered(database)
			}
		})
	})
}

func (d *dispatcher) started(database string) {
	d.Push(func() { d.Log.Info("multidb: started", "database", database) })
}

// unrouted logs what is wrong with the way a hook was added.
func (d *dispatcher) unrouted() {
	d.Push(func() {
		d.Log.Error("multidb: commands run through the hook, but over connections it has not dialed, so they do not follow " +
			"the active database. It was added to a client it cannot route (ClusterClient, Ring), or after the client had " +
			"connections: use hook.Attach(client), which says what is wrong.")
	})
}

// refusal logs a reply that says "cannot serve now"; the one who calls sees to it that this is not each of them.
func (d *dispatcher) refusal(database, code string, reply error) {
	d.Push(func() {
		d.Log.Warn("multidb: the database refuses commands", "database", database, "code", code, "reply", reply)
	})
}

// indexConflict says that a client and a database name different indexes. Attach refuses such a client; AddHook cannot.
func (d *dispatcher) indexConflict(database string, own int, client string) {
	d.Push(func() {
		d.Log.Error("multidb: the client and a database name different database indexes; the commands of the client go to the "+
			"index of the database. Give both the same index, or leave one of them at 0.",
			"database", database, "index", own, "client_index", client)
	})
}

// suspected and cleared log what a suspicion is about, and that it came to nothing; one that is confirmed is a change of
// health. Nobody subscribes to these either.
func (d *dispatcher) suspected(database string, cause error) {
	d.Push(func() { d.Log.Debug("multidb: suspected", "database", database, "cause", cause) })
}

func (d *dispatcher) cleared(database string, cause error, after time.Duration) {
	d.Push(func() {
		d.Log.Debug("multidb: suspicion cleared", "database", database, "after", after, "cause", cause)
	})
}

// leftOpen logs that a probe of a database that was removed could not be closed.
func (d *dispatcher) leftOpen(database string, err error) {
	d.Push(func() {
		d.Log.Warn("multidb: a probe of a removed database was not closed", "database", database, "error", err)
	})
}

// checked tells of one check, if anybody listens.
func (d *dispatcher) checked(c HealthCheck) {
	logs := !c.Quick && d.Log.Enabled(context.Background(), slog.LevelDebug)
	if !logs && !d.wantsChecks() {
		return
	}
	d.Push(func() {
		if logs {
			d.Log.Debug("multidb: checked", "database", c.Database, "took", c.Took, "error", c.Err)
		}
		d.tell(func(e *Events) {
			if e.OnCheck != nil {
				e.OnCheck(c)
			}
		})
	})
}
