package multidb

import (
	"time"
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
	// Took is what users have felt: the time until the new database was in use. It begins with the first command
	// that failed on the old one, or with the last byte before that went silent. Failures that are more than a
	// second apart do not belong together. 0 if no user has felt anything.
	Took time.Duration
	// Decided is what the decision took of that: the time from the evidence that led to it. 0 if the switch is planned.
	Decided time.Duration
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

// BreakerState is the state of the circuit breaker of a database.
type BreakerState string

// The states of a circuit breaker.
const (
	BreakerClosed   BreakerState = "closed"    // usable
	BreakerOpen     BreakerState = "open"      // not usable; left alone for Breaker.Delay
	BreakerHalfOpen BreakerState = "half-open" // not usable; health checks decide
	BreakerUnknown  BreakerState = "unknown"   // not checked yet
)

// Degraded is a database that is a cluster and does not serve all of its slots. It may see to that by itself: it
// is replacing a master. Commands go on there, and it is no place to move to.
type Degraded struct {
	// Database is its name.
	Database string
	// Cause says what is missing; nil if the cluster is whole again.
	Cause error
	// Lasted is how long it has been degraded, or down, when it is whole again; 0 before.
	Lasted time.Duration
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

// Events are functions to call when something happens; each may be nil. They are called one after the other, in
// the order of what happened, from one goroutine that holds no lock. They may call every method of the hook except
// Close. A slow one delays later events but no command. A panic is logged and contained. Close waits for them, for
// 5 s at most; one that has not returned by then is left to itself.
type Events struct {
	// OnSwitch: the active database has changed.
	OnSwitch func(Switch)
	// OnHealth: a database has become usable or unusable.
	OnHealth func(HealthChange)
	// OnDegraded: a cluster has begun to replace a master of its own, or is whole again.
	OnDegraded func(Degraded)
	// OnAllDown: no database is usable; cause is what the one that was active last failed with. In a dry run as well,
	// although no command is refused then.
	OnAllDown func(cause error)
	// OnRecovered: after OnAllDown, database is in use; in a dry run, it would be.
	OnRecovered func(database string)
	// OnChange: somebody has changed something at run time, or a manual choice has ended.
	OnChange func(Change)
	// OnCheck: a database was checked. It is called several times a second while databases are down.
	OnCheck func(HealthCheck)
}
