// Package selector owns the answer to "which database?": who publishes it, when, and why. It knows nothing of commands, and
// leaves to others what a switch does to connections.
package selector

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/probes"
)

// Config is what a selector is made of. It must not be changed.
type Config struct {
	Strategy     Strategy
	DryRun       bool
	DrainTimeout time.Duration
	Checks       probes.Checks // of databases that are added and have none of their own
	Listener     Listener
	// Moved is called after each switch, without a lock: connections are to be seen to. drains says that sessions may go on.
	Moved func(old *Epoch, to *database.Database, down, planned, drains bool)
}

// Selector owns the answer: it is the only one who publishes an epoch. Everybody else reports a change (Review, and the methods
// for choices by hand) and reads Current. Safe for concurrent use.
//
// Lock order: Selector.mu, then health.mu; those of connections and of the queue of events are leaves. None of them is held while
// a socket, Redis, a sleep or a user's function runs: a decision is made under mu, and what follows from it (closing
// connections, waking goroutines) is done after it.
type Selector struct {
	cfg    Config
	active atomic.Pointer[Epoch]

	mu sync.Mutex

	dbs        []*database.Database
	checks     probes.Checks // of databases that are added and have none of their own
	version    uint64        // of everything below and above; a decision is void if it has moved meanwhile
	started    bool          // the initial policy is satisfied
	closed     bool
	pinned     *database.Database // a manual choice, until released or dead
	pinNumber  uint64             // counts them, so that the timer of one does not end the next
	unpinTimer *time.Timer
	shadow     atomic.Pointer[Epoch] // where we would be, in a dry run, if not where we are

	switches map[Reason]uint64
	changed  chan struct{} // capacity 1: something was reviewed
}

// New makes a selector. It publishes nothing before Begin.
func New(cfg Config) *Selector {
	return &Selector{cfg: cfg, checks: cfg.Checks, switches: make(map[Reason]uint64), changed: make(chan struct{}, 1)}
}

// Mutex returns the lock, for a test that looks whether it is held where it must not be.
func (s *Selector) Mutex() *sync.Mutex { return &s.mu }

// Current returns the epoch of now; nil before Begin. One atomic load.
func (s *Selector) Current() *Epoch { return s.active.Load() }

// Changed receives after a review.
func (s *Selector) Changed() <-chan struct{} { return s.changed }

// Start makes the first choice: from here on the selector decides.
func (s *Selector) Start() {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.Review()
}

// Snapshot is what a dashboard needs.
type Snapshot struct {
	Current   *Epoch
	Held      string // the manual choice that stands, or empty
	Switches  map[Reason]uint64
	Databases []*database.Database
}

// Snapshot returns how things are now.
func (s *Selector) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := Snapshot{Current: s.active.Load(), Switches: maps.Clone(s.switches), Databases: slices.Clone(s.dbs)}
	if s.pinned != nil {
		snap.Held = s.pinned.Name
	}
	return snap
}

// Begin sets the databases; nothing is usable before Start.
func (s *Selector) Begin(dbs []*database.Database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dbs = dbs
	s.active.Store(NewEpoch(dbs[0], true, 0))
}

// Review finds out what follows from a change of somebody's health: nothing, a failover, the end of an outage, or the
// news that nothing is usable. Safe for concurrent use; late and repeated calls do no harm, because it looks at how
// things are and not at what has changed.
func (s *Selector) Review() {
	for {
		usable, active, version, ok := s.situation()
		if !ok {
			break
		}
		// The strategy may be a user's: it is asked without the lock, and its answer holds if nothing has moved.
		target := active
		if s.Effective().Down || !slices.Contains(usable, active) {
			target = choose(s.cfg.Strategy, passing(usable), active)
		}
		if done, ok := s.carryOut(version, target); ok {
			done()
			break
		}
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// situation returns what a decision is made on. ok is false before the start and after the end.
func (s *Selector) situation() (usable []*database.Database, active *database.Database, version uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, db := range s.dbs {
		if db.Health.Usable() {
			usable = append(usable, db)
		}
	}
	return usable, s.Effective().DB, s.version, s.started && !s.closed
}

// carryOut carries out a decision, unless the ground for it has moved. Why it was made is kept by the database that is left,
// and not known to the caller, who may have come about another one.
func (s *Selector) carryOut(version uint64, target *database.Database) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Effective()
	switch {
	case s.version != version || target != nil && !target.Health.Usable():
		return nil, false
	case target != now.DB && !now.Down && now.DB.Health.Usable():
		return nil, false // it has been readmitted meanwhile
	case target == now.DB && !now.Down:
		return func() {}, true
	case target == nil && now.Down:
		return func() {}, true
	}
	reason, cause := HealthCheck, error(nil)
	if now.Number > 0 {
		reason, cause = outageOf(now.DB)
	}
	if target == nil {
		return s.publish(now.DB, true, false, reason, cause), true
	}
	return s.publish(target, false, false, reason, cause), true
}

// outageOf tells why a database became unusable the last time.
func outageOf(db *database.Database) (Reason, error) {
	outage := db.Health.Outage()
	if outage.ByTraffic {
		return FailureDetector, outage.Cause
	}
	return HealthCheck, outage.Cause
}

// publish makes a choice the current one. It is the one place that writes Hook.active after the start. Caller must hold
// mu, and call what it returns after releasing it.
//
// Planned, the sequence is: (1) the old database drains, so that sessions on it may go on; (2) the new choice is
// visible: from here on the pool replaces idle connections of the old database, its gates refuse requests that begin
// no session's next step, and dials go to the new one; (3) those who wait for a choice wake up; (4) pub/sub connections
// are closed; (5) after DrainTimeout all that is left is. Unplanned there is no draining, and (4) is everything at once.
func (s *Selector) publish(to *database.Database, down, planned bool, reason Reason, cause error) func() {
	if s.cfg.DryRun && shadowsOnly(s.active.Load(), to, reason) {
		return s.shadowMove(to, down, planned, reason, cause)
	}
	old, began := s.active.Load(), time.Now()
	drains := planned || !down && health.OnlyConnect(cause)
	event := describe(old, to, planned, reason, cause)
	s.moved(to, reason)
	s.shadow.Store(nil)
	// The new database may still be draining from when it was left. It goes on so: current connections are not asked, and
	// if it ended before the choice is visible, a session on it would be refused in between.
	old.DB.Conns.Leave(old.Number, drains && s.cfg.DrainTimeout > 0)
	next := NewEpoch(to, down, old.Number+1)
	next.Reason, next.Planned = reason, planned
	s.active.Store(next)
	old.end()
	to.Health.Nudge() // its timer was set at the pace of a passive database
	event.took(began)
	s.announce(event, old, to, down)
	return func() {
		if to != old.DB {
			to.Traffic.Reset() // of what was before, see window.Detector; they may be a user's, so without the lock
		}
		s.cfg.Moved(old, to, down, planned, drains)
	}
}

// dropPin ends a manual choice, if there is one. Caller must hold mu.
func (s *Selector) dropPin(why Unpinned) {
	if s.pinned != nil && why != "" {
		s.cfg.Listener.Unpinned(s.pinned, why)
	}
	s.pinned = nil
	if s.unpinTimer != nil {
		s.unpinTimer.Stop()
		s.unpinTimer = nil
	}
}

// Find returns the database of that name, or nil.
func (s *Selector) Find(name string) *database.Database {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(name)
}

// lookup is find for a caller that holds mu.
func (s *Selector) lookup(name string) *database.Database {
	for _, db := range s.dbs {
		if db.Name == name {
			return db
		}
	}
	return nil
}

// All returns the databases in the order of configuration.
func (s *Selector) All() []*database.Database {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*database.Database(nil), s.dbs...)
}

// HasAlternative reports whether there is a usable database besides db.
func (s *Selector) HasAlternative(db *database.Database) bool {
	usable, _, _, ok := s.situation()
	for _, other := range usable {
		if other != db && ok {
			return true
		}
	}
	return false
}

// Close ends all decisions. A closed hook lets everything through, so the last choice must not be "down".
func (s *Selector) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.version++
	s.dropPin("")
	if now := s.active.Load(); now != nil && now.Down {
		s.active.Store(NewEpoch(now.DB, false, now.Number+1))
		now.end()
	}
}

// CloseDatabases closes what the databases have opened to be asked.
func (s *Selector) CloseDatabases() error {
	var errs []error
	for _, db := range s.All() {
		errs = append(errs, db.Prober.Close())
	}
	return errors.Join(errs...)
}
