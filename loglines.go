package multidb

import (
	"context"
	"log/slog"
	"time"
)

// What the log says. A line is read at night by somebody who does not know the package: it names the database and its address,
// says in words what follows, and has no attribute that says nothing.

func (d *dispatcher) switched(s Switch) {
	d.Push(func() {
		args := []any{"from", s.From, "to", s.To, "reason", string(s.Reason), "planned", s.Planned}
		if !s.Planned {
			args = append(args, "took", s.Took, "decided_in", s.Decided)
		}
		d.Log.Log(context.Background(), s.Reason.level(), "multidb: switched", unlessDry(args, s.DryRun, s.Cause)...)
		d.tell(func(e *Events) {
			if e.OnSwitch != nil {
				e.OnSwitch(s)
			}
		})
	})
}

// unlessDry adds what is worth saying of a dry run and of a cause, which is nothing if there is none.
func unlessDry(args []any, dry bool, cause error) []any {
	if dry {
		args = append(args, "dry_run", true)
	}
	if cause != nil {
		args = append(args, "cause", cause)
	}
	return args
}

// level is that of the log line of a switch: a switch is worth a warning whoever asked for it, because data may differ
// from here on, and the return to where one wants to be is not.
func (r Reason) level() slog.Level {
	if r == ReasonFailback {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// health tells of a database that has become usable or unusable. lasted is how long it was unusable before.
func (d *dispatcher) health(c HealthChange, addr string, lasted time.Duration) {
	d.Push(func() {
		switch {
		case c.State == BreakerOpen:
			d.Log.Warn("multidb: database UNUSABLE", unlessDry([]any{"database", c.Database, "addr", addr}, false, c.Cause)...)
		case c.From == BreakerUnknown:
			d.Log.Info("multidb: database usable", "database", c.Database, "addr", addr)
		default:
			d.Log.Info("multidb: database usable again", "database", c.Database, "addr", addr, "unusable_for", lasted)
		}
		d.tell(func(e *Events) {
			if e.OnHealth != nil {
				e.OnHealth(c)
			}
		})
	})
}

func (d *dispatcher) degraded(c Degraded) {
	d.Push(func() {
		if c.Cause != nil {
			d.Log.Warn("multidb: cluster is DEGRADED: it is waited for until Health.Takeover is over", "database", c.Database, "cause", c.Cause)
		} else {
			d.Log.Info("multidb: cluster is whole again", "database", c.Database, "degraded_for", c.Lasted)
		}
		d.tell(func(e *Events) {
			if e.OnDegraded != nil {
				e.OnDegraded(c)
			}
		})
	})
}

// masterMoved says that the sentinels have made another server the master of a group, which is no switch.
func (d *dispatcher) masterMoved(database, from, to string) {
	d.Push(func() {
		d.Log.Warn("multidb: the sentinels have made another master", "database", database, "from", from, "addr", to)
	})
}

func (d *dispatcher) allDown(cause error, dry bool) {
	d.Push(func() {
		d.Log.Error("multidb: no database is usable", unlessDry(nil, dry, cause)...)
		d.tell(func(e *Events) {
			if e.OnAllDown != nil {
				e.OnAllDown(cause)
			}
		})
	})
}

func (d *dispatcher) recovered(database string, dry bool, lasted time.Duration) {
	d.Push(func() {
		d.Log.Info("multidb: recovered", unlessDry([]any{"database", database, "down_for", lasted}, dry, nil)...)
		d.tell(func(e *Events) {
			if e.OnRecovered != nil {
				e.OnRecovered(database)
			}
		})
	})
}

func (d *dispatcher) started(database, addr string) {
	d.Push(func() { d.Log.Info("multidb: started", "database", database, "addr", addr) })
}

// waits says what New is waiting for.
func (d *dispatcher) waits(healthy, need int, policy Initial, lasted time.Duration, missing []any) {
	d.Push(func() {
		d.Log.Warn("multidb: New waits for databases", "healthy", healthy, "needed", need, "initial", policy.String(),
			"for", lasted, slog.Group("unusable", missing...))
	})
}

// StillDown repeats that no database is usable. The dispatcher is the listener of the monitor.
func (d *dispatcher) StillDown(lasted time.Duration, dry bool, causes []any) {
	d.Push(func() {
		args := unlessDry([]any{"for", lasted}, dry, nil)
		d.Log.Error("multidb: still no database is usable", append(args, slog.Group("unusable", causes...))...)
	})
}

// StillUnusable repeats it of one database.
func (d *dispatcher) StillUnusable(database, addr string, lasted time.Duration, cause error) {
	d.Push(func() {
		d.Log.Warn("multidb: database still UNUSABLE", unlessDry([]any{"database", database, "addr", addr, "for", lasted}, false, cause)...)
	})
}

// checkForbidden says that a check has no right to ask, so that it says nothing about the database.
func (d *dispatcher) checkForbidden(database, addr string, err error) {
	d.Push(func() {
		d.Log.Warn("multidb: a health check is not permitted", "database", database, "addr", addr, "error", err)
	})
}

// returnsEmpty says that the data of a database that was returned to is gone.
func (d *dispatcher) returnsEmpty(database, addr string) {
	d.Push(func() {
		d.Log.Warn("multidb: returned to an EMPTY database, and the one before has data", "database", database, "addr", addr,
			"hint", "probes.Marker keeps a database without its data from being returned to")
	})
}

// Unrouted logs what is wrong with the way a hook was added.
func (d *dispatcher) Unrouted() {
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

// checked tells of one check, if anybody listens.
func (d *dispatcher) checked(c HealthCheck) {
	logs := !c.Quick && d.Log.Enabled(context.Background(), slog.LevelDebug)
	if !logs && !d.wantsChecks() {
		return
	}
	d.Push(func() {
		if logs {
			args := []any{"database", c.Database, "took", c.Took}
			if c.Err != nil {
				args = append(args, "error", c.Err)
			}
			d.Log.Debug("multidb: checked", args...)
		}
		d.tell(func(e *Events) {
			if e.OnCheck != nil {
				e.OnCheck(c)
			}
		})
	})
}

// ownFault logs what this process has met by itself, once a minute.
func (d *dispatcher) ownFault(database string, cause error) {
	d.Seldom(time.Minute, "own fault", func() {
		d.Log.Error("multidb: this process cannot make connections; no database is blamed for it", "database", database, "cause", cause)
	})
}

// proberCannotConnect logs that a database is only not left because its traffic is served, once a minute.
func (d *dispatcher) proberCannotConnect(database string, cause error) {
	d.Seldom(time.Minute, "prober "+database, func() {
		d.Log.Warn("multidb: health checks cannot connect; the database keeps its place as long as its connections are answered",
			"database", database, "cause", cause)
	})
}

// nowhereBetter logs that a database in trouble is not left because no other one passes the same act, once a minute.
func (d *dispatcher) nowhereBetter(database string, cause error) {
	d.Seldom(time.Minute, "nowhere "+database, func() {
		d.Log.Warn("multidb: the database keeps its place, because no other one is better off", "database", database, "cause", cause)
	})
}

// NotUnblocked logs that commands that wait on a database that was left stay there, once a minute.
func (d *dispatcher) NotUnblocked(database string, cause error) {
	d.Seldom(time.Minute, "unblock "+database, func() {
		d.Log.Warn("multidb: blocking commands stay on the database that was left, until their time or the drain is over: it does "+
			"not take CLIENT UNBLOCK", "database", database, "cause", cause)
	})
}

// changed tells of a change.
func (d *dispatcher) changed(c Change, addr string) {
	d.Push(func() {
		switch c.Kind {
		case ChangeAdded:
			d.Log.Info("multidb: database added", "database", c.Database, "addr", addr, "weight", c.Weight)
		case ChangeRemoved:
			d.Log.Info("multidb: database removed", "database", c.Database, "addr", addr)
		case ChangeWeight:
			d.Log.Info("multidb: weight changed", "database", c.Database, "from", c.Before, "to", c.Weight)
		case ChangePinned:
			args := []any{"database", c.Database, "until", "released"}
			if c.For > 0 {
				args = []any{"database", c.Database, "for", c.For}
			}
			d.Log.Info("multidb: pinned by hand", args...)
		case ChangeUnpinned:
			d.Log.Info("multidb: no longer pinned", "database", c.Database, "why", c.Why)
		}
		d.tell(func(e *Events) {
			if e.OnChange != nil {
				e.OnChange(c)
			}
		})
	})
}
