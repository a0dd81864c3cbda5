package monitor

import (
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
)

// Reminders: what goes on for long is said again, for a log is looked at from its end.

const (
	// remindDown is how often the loss of all databases is repeated.
	remindDown = time.Minute
	// remindUnusable is when one unusable database is mentioned again for the first time. The time doubles up to
	// remindUnusableMax: redundancy is gone, and nobody must find that out on the day when it is needed.
	remindUnusable    = time.Minute
	remindUnusableMax = time.Hour
	// remindPace is how often it is looked whether a reminder is due.
	remindPace = time.Second
)

// reminders is when something was said last. It belongs to the monitor.
type reminders struct {
	looked time.Time
	down   *reminder
	of     map[*database.Database]*reminder
}

// reminder is one trouble that goes on.
type reminder struct {
	since, next time.Time
	wait        time.Duration
}

// due reports whether the trouble is to be mentioned, and when after that.
func (r *reminder) due(now time.Time, factor, most time.Duration) bool {
	if now.Before(r.next) {
		return false
	}
	r.wait = min(r.wait*factor, most)
	r.next = now.Add(r.wait)
	return true
}

// remind mentions what is due.
func (m *Monitor) remind(r *reminders, now time.Time) {
	if now.Sub(r.looked) < remindPace {
		return
	}
	r.looked = now
	down := m.cfg.Choice.Effective().Down
	if down {
		r.of = nil // the line about all of them says it
		if r.down == nil {
			r.down = &reminder{since: now, next: now.Add(remindDown), wait: remindDown}
		}
		if r.down.due(now, 1, remindDown) {
			m.cfg.Listener.StillDown(roundedSince(r.down.since, now), m.cfg.DryRun, database.Troubles(m.cfg.Choice.All()))
		}
		return
	}
	r.down = nil
	of := make(map[*database.Database]*reminder)
	for _, db := range m.cfg.Choice.All() {
		if db.Health.Usable() || db.Health.State() == health.Unknown {
			continue
		}
		one := r.of[db]
		if one == nil {
			one = &reminder{since: now, next: now.Add(remindUnusable), wait: remindUnusable}
		}
		of[db] = one
		if one.due(now, 2, remindUnusableMax) {
			m.cfg.Listener.StillUnusable(db.Name, db.Endpoint().Addr, roundedSince(one.since, now), db.Locate(db.Health.Trouble()))
		}
	}
	r.of = of
}

func roundedSince(since, now time.Time) time.Duration { return now.Sub(since).Round(time.Second) }
