package multidb

import (
	"time"

	"github.com/redishook/multidb/internal/database"
)

// Stats is a snapshot of what a dashboard needs. Counters never go back. It is not an atomic snapshot: the fields
// are read one after another.
type Stats struct {
	// Name is Options.Name.
	Name string
	// Active is the name of the active database; while Down, of the one that was active last.
	Active string
	// Down is true while no database is usable.
	Down bool
	// Held is the name of the database of a manual choice that stands, or empty.
	Held string
	// Databases in the order of configuration.
	Databases []DatabaseStats
	// Switches counts the switches by reason, those of a dry run included.
	Switches map[Reason]uint64
}

// DatabaseStats is what is known of one database.
type DatabaseStats struct {
	// Name and Weight as they are now.
	Name   string
	Weight float64
	// Network, Addr and DB are where connections go: see [Endpoint].
	Network, Addr string
	DB            int
	// Breaker is the state of its circuit breaker, Since the time it has had that state.
	Breaker BreakerState
	Since   time.Time
	// LastError is why it is not usable; nil if it is.
	LastError error
	// Suspicions counts how often it was suspected: something failed or stalled on it. Or the active database did
	// not answer at once, and all others were asked as well. Cleared counts those that a quick probe has cleared;
	// what is left are outages. Many that are cleared tell of connections that break, or of a network that loses
	// packets.
	Suspicions, Cleared uint64
	// Evidence counts by kind what has made it suspect. "connect" is a dial or a login, "request" a connection
	// that broke, "silence" no answer in time. "refusal" is a reply that it cannot serve now, put to the other
	// databases as well. nil if there was none.
	Evidence map[string]uint64
	// OwnFaults counts failures that this process has met by itself, such as no descriptors left. They are no evidence.
	OwnFaults uint64
	// GateError is what keeps it from being moved to: what a check that only gates (replication lag, say) has answered the
	// last time. nil if nothing does, if it is active, or if it is not usable anyway.
	GateError error
	// GracePeriod is how long it must be healthy before failback, as it has grown until now.
	GracePeriod time.Duration
	// Latency is the smoothed round trip of PINGs over established connections; 0 if none has passed.
	Latency time.Duration
	// Successes and Failures count commands (a pipeline is one) by how they ended on this database.
	Successes, Failures uint64
	// NotSent, CannotServe and Unanswered are the Failures by kind. The request was not sent, the database has
	// replied that it cannot serve now, or the request was sent and not answered.
	NotSent, CannotServe, Unanswered uint64
	// Replies counts error replies by code. It has only codes by which a server refuses whatever it is asked:
	// READONLY, OOM, NOAUTH, and so on. "other" is for replies that count as failures without such a code. A
	// pipeline counts each code once. nil if there were none.
	Replies map[string]uint64
	// WindowFailures and WindowCommands are what the failure detector sees now: failures, and commands altogether, within
	// its window; 0 if no detector tells (see window.Counting).
	WindowFailures, WindowCommands uint64
	// Replayed counts commands that were sent, not answered, and run again.
	Replayed uint64
	// Moved counts blocking commands that waited here when the database was left as planned, and were moved with what was left
	// of their time.
	Moved uint64
	// Unknown counts commands that were sent and not answered, and whose callers were told so. A caller that gave up, or closed
	// its client, while nothing was wrong with the database is not counted.
	Unknown uint64
	// Refused counts commands that were refused because no database was usable, at the one that was active last.
	Refused uint64
	// Masters and Slots are those of a database that is a cluster: nodes that serve slots, and slots that have an owner.
	Masters, Slots int
	// Degraded is since when the cluster has not been whole; zero if it is.
	Degraded time.Time
	// Connections is the number of open connections, Dialed of all so far.
	Connections int
	Dialed      uint64
}

// Stats returns a snapshot. Safe for concurrent use.
func (h *Hook) Stats() Stats {
	now := h.selector.Snapshot()
	s := Stats{
		Name: h.opt.Name, Active: now.Current.DB.Name, Down: now.Current.Down, Held: now.Held,
		Switches: make(map[Reason]uint64, len(now.Switches)),
	}
	for reason, n := range now.Switches {
		s.Switches[Reason(reason)] = n
	}
	for _, db := range now.Databases {
		s.Databases = append(s.Databases, statsOf(db))
	}
	return s
}

func statsOf(db *database.Database) DatabaseStats {
	db.Traffic.Sample(0)
	well := db.Health.Snapshot()
	s := DatabaseStats{
		Name: db.Name, Weight: db.Weight(), Latency: db.Prober.RoundTrip(),
		Successes: db.Traffic.Successes.Load(), Failures: db.Traffic.Failures.Load(), Replayed: db.Traffic.Replayed.Load(),
		Moved: db.Traffic.Unblocked.Load(), Unknown: db.Traffic.Unknown.Load(), Refused: db.Traffic.Refused.Load(),
		Breaker: BreakerState(well.State), Since: well.Since, LastError: well.LastError, GracePeriod: well.GracePeriod,
		Suspicions: well.Suspicions, Cleared: well.Cleared, GateError: well.GateError,
		NotSent: db.Traffic.NotSent.Load(), CannotServe: db.Traffic.CannotServe.Load(), Unanswered: db.Traffic.Unanswered.Load(),
		Replies: db.Replies.Snapshot(), Evidence: db.Traffic.Evidence.ByKind(), OwnFaults: db.Traffic.OwnFaults.Load(),
	}
	at := db.Endpoint()
	s.Network, s.Addr, s.DB = at.Network, at.Addr, at.DB
	s.WindowFailures, s.WindowCommands = db.Traffic.Window()
	if c := db.Cluster; c != nil {
		if t := c.Topology(); t != nil {
			s.Masters, s.Slots = len(t.Masters()), t.Covered()
		}
		s.Degraded = c.Degraded()
	}
	s.Connections, s.Dialed = db.Conns.Count()
	return s
}
