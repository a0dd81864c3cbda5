package multidb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/probes"
)

// selector owns the answer to "which database?": it is the only one who publishes a choice. Everybody else reports a
// change (review, and the methods of control.go) and reads Hook.active.
//
// Lock order: selector.mu, then database.mu; connections.mu and the events' lock are leaves. None of them is held while
// a socket, Redis, a sleep or a user's function runs: a decision is made under mu, and what follows from it (closing
// connections, waking goroutines) is done after it.
type selector struct {
	h  *Hook
	mu sync.Mutex

	dbs        []*database
	leaving    []*database   // removed, and their sessions may still finish: they have their probes
	checks     probes.Checks // of databases that are added and have none of their own
	version    uint64        // of everything below and above; a decision is void if it has moved meanwhile
	started    bool          // the initial policy is satisfied
	closed     bool
	pinned     *database // a manual choice, until released or dead
	pinNumber  uint64    // counts them, so that the timer of one does not end the next
	unpinTimer *time.Timer
	shadow     atomic.Pointer[epoch] // where we would be, in a dry run, if not where we are

	switches map[Reason]uint64
	changed  chan struct{} // capacity 1: something was reviewed; for awaitInitial
}

func (s *selector) init(h *Hook) {
	s.h = h
	s.checks = h.opt.Health.Checks
	s.switches = make(map[Reason]uint64)
	s.changed = make(chan struct{}, 1)
}

// begin sets the databases; nothing is usable before awaitInitial has returned.
func (s *selector) begin(dbs []*database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dbs = dbs
	s.h.active.Store(newEpoch(dbs[0], true, 0))
}

// review finds out what follows from a change of somebody's health: nothing, a failover, the end of an outage, or the
// news that nothing is usable. Safe for concurrent use; late and repeated calls do no harm, because it looks at how
// things are and not at what has changed.
func (s *selector) review() {
	for {
		usable, active, version, ok := s.snapshot()
		if !ok {
			break
		}
		// The strategy may be a user's: it is asked without the lock, and its answer holds if nothing has moved.
		target := active
		if s.effective().down || !slices.Contains(usable, active) {
			target = choose(s.h.opt.Strategy, passing(usable), active)
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

// snapshot returns what a decision is made on. ok is false before the start and after the end.
func (s *selector) snapshot() (usable []*database, active *database, version uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, db := range s.dbs {
		if db.health.Usable() {
			usable = append(usable, db)
		}
	}
	return usable, s.effective().db, s.version, s.started && !s.closed
}

// carryOut carries out a decision, unless the ground for it has moved. Why it was made is kept by the database that is left,
// and not known to the caller, who may have come about another one.
func (s *selector) carryOut(version uint64, target *database) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.effective()
	switch {
	case s.version != version || target != nil && !target.health.Usable():
		return nil, false
	case target != now.db && !now.down && now.db.health.Usable():
		return nil, false // it has been readmitted meanwhile
	case target == now.db && !now.down:
		return func() {}, true
	case target == nil && now.down:
		return func() {}, true
	}
	reason, cause := ReasonHealthCheck, error(nil)
	if now.Number > 0 {
		reason, cause = outageOf(now.db)
	}
	if target == nil {
		return s.publish(now.db, true, false, reason, cause), true
	}
	return s.publish(target, false, false, reason, cause), true
}

// outageOf tells why a database became unusable the last time.
func outageOf(db *database) (Reason, error) {
	outage := db.health.Outage()
	if outage.ByTraffic {
		return ReasonFailureDetector, outage.Cause
	}
	return ReasonHealthCheck, outage.Cause
}

// publish makes a choice the current one. It is the one place that writes Hook.active after the start. Caller must hold
// mu, and call what it returns after releasing it.
//
// Planned, the sequence is: (1) the old database drains, so that sessions on it may go on; (2) the new choice is
// visible: from here on the pool replaces idle connections of the old database, its gates refuse requests that begin
// no session's next step, and dials go to the new one; (3) those who wait for a choice wake up; (4) pub/sub connections
// are closed; (5) after DrainTimeout all that is left is. Unplanned there is no draining, and (4) is everything at once.
func (s *selector) publish(to *database, down, planned bool, reason Reason, cause error) func() {
	if s.h.opt.DryRun && s.shadowsOnly(to, reason) {
		return s.shadowMove(to, down, planned, reason, cause)
	}
	old, began := s.h.active.Load(), time.Now()
	drains := planned || !down && health.OnlyConnect(cause)
	event := describe(old, to, planned, reason, cause)
	s.moved(to, reason)
	s.shadow.Store(nil)
	// The new database may still be draining from when it was left. It goes on so: current connections are not asked, and
	// if it ended before the choice is visible, a session on it would be refused in between.
	old.db.conns.Leave(old.Number, drains && s.h.opt.DrainTimeout > 0)
	next := newEpoch(to, down, old.Number+1)
	next.reason, next.planned = reason, planned
	s.h.active.Store(next)
	old.end()
	to.health.Nudge() // its timer was set at the pace of a passive database
	event.took(began)
	s.announce(event, old, down)
	return func() {
		if to != old.db {
			to.traffic.Reset() // of what was before, see window.Detector; they may be a user's, so without the lock
		}
		s.h.sweep(old, to, down, planned, drains)
	}
}

// describe is the event of a move, as far as it is known before the move.
func describe(old *epoch, to *database, planned bool, reason Reason, cause error) Switch {
	event := Switch{From: old.db.name, To: to.name, Reason: reason, Cause: cause, Planned: planned}
	if planned {
		return event
	}
	now := time.Now()
	at, suspected := old.db.health.SuspectedAt()
	if suspected {
		event.Decided = now.Sub(at)
	}
	if since, failing := old.db.traffic.FailingSince(now); failing {
		event.Took = max(now.Sub(since), event.Decided)
	}
	return event
}

// took adds the time that the move itself has taken.
func (s *Switch) took(began time.Time) {
	if s.Planned {
		return
	}
	moving := time.Since(began)
	s.Decided += moving
	if s.Took > 0 {
		s.Took += moving
	}
}

// moved notes what decisions after a move are made on. Caller must hold mu.
func (s *selector) moved(to *database, reason Reason) {
	s.version++
	if to != s.pinned {
		why := UnpinnedLeft
		if reason == ReasonManual {
			why = UnpinnedReplaced
		}
		s.dropPin(why)
	}
	for _, db := range s.dbs {
		db.weightAtLastSwitch = db.getWeight()
	}
}

// announce counts the change and puts its event into the queue, whose order is that of the changes because mu is held.
func (s *selector) announce(event Switch, old *epoch, down bool) {
	switch {
	case down:
		s.h.events.allDown(event.Cause, event.DryRun)
		return
	case old.Number == 0:
		s.h.events.started(event.To, s.lookup(event.To).endpoint().Addr)
		return
	case old.down:
		s.h.events.recovered(event.To, event.DryRun, time.Since(old.at).Round(time.Millisecond))
	}
	if event.From != event.To {
		s.switches[event.Reason]++
		s.h.events.switched(event)
	}
}

// dropPin ends a manual choice, if there is one. Caller must hold mu.
func (s *selector) dropPin(why string) {
	if s.pinned != nil && why != "" {
		s.h.events.changed(Change{Kind: ChangeUnpinned, Database: s.pinned.name, Weight: s.pinned.getWeight(), Why: why}, "")
	}
	s.pinned = nil
	if s.unpinTimer != nil {
		s.unpinTimer.Stop()
		s.unpinTimer = nil
	}
}

// awaitInitial waits until as many databases are healthy as the policy says, and makes the first choice. It waits for
// the first check of the others too, as long as those take anyway, so that the first one to answer does not win over
// the heaviest.
func (s *selector) awaitInitial(ctx context.Context, policy Initial) error {
	var settled <-chan time.Time
	began, reminder := time.Now(), time.NewTicker(remindWaiting)
	defer reminder.Stop()
	for {
		healthy, unchecked, total := s.count()
		need := policy.of(total)
		if healthy >= need {
			if settled == nil {
				settled = time.After(s.h.opt.Health.Timeout)
			}
			if unchecked == 0 {
				break
			}
		}
		select {
		case <-s.changed:
			continue
		case now := <-reminder.C:
			s.h.events.waits(healthy, need, policy, roundedSince(began, now), s.troubles())
			continue
		case <-settled:
		case <-ctx.Done():
			return s.initialError(ctx, policy, healthy, need)
		}
		break
	}
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.review()
	return nil
}

func (s *selector) count() (healthy, unchecked, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, db := range s.dbs {
		if db.health.Usable() {
			healthy++
		} else if db.health.State() == health.Unknown {
			unchecked++
		}
	}
	return healthy, unchecked, len(s.dbs)
}

// of is the number of databases that the policy wants of n.
func (i Initial) of(n int) int {
	switch i {
	case InitialMajority:
		return n/2 + 1
	case InitialAll:
		return n
	}
	return 1
}

// initialError says what each database that is missing has answered.
func (s *selector) initialError(ctx context.Context, policy Initial, healthy, need int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{fmt.Errorf("multidb: %d of %d databases are healthy, Options.Initial = %s needs %d: %w",
		healthy, len(s.dbs), policy, need, context.Cause(ctx))}
	if healthy == 0 {
		errs = append(errs, ErrNoDatabase)
	}
	for _, db := range s.dbs {
		if !db.health.Usable() {
			errs = append(errs, fmt.Errorf("database %q: %w", db.name, db.health.Trouble()))
		}
	}
	return errors.Join(errs...)
}

// find returns the database of that name, or nil.
func (s *selector) find(name string) *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(name)
}

// lookup is find for a caller that holds mu.
func (s *selector) lookup(name string) *database {
	for _, db := range s.dbs {
		if db.name == name {
			return db
		}
	}
	return nil
}

// all returns the databases in the order of configuration.
func (s *selector) all() []*database {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*database(nil), s.dbs...)
}

// hasAlternative reports whether there is a usable database besides db.
func (s *selector) hasAlternative(db *database) bool {
	usable, _, _, ok := s.snapshot()
	for _, other := range usable {
		if other != db && ok {
			return true
		}
	}
	return false
}

// close ends all decisions. A closed hook lets everything through, so the last choice must not be "down".
func (s *selector) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.version++
	s.dropPin("")
	if now := s.h.active.Load(); now != nil && now.down {
		s.h.active.Store(newEpoch(now.db, false, now.Number+1))
		now.end()
	}
}

func (s *selector) closeDatabases() error {
	var errs []error
	for _, db := range s.all() {
		errs = append(errs, db.prober.Close())
	}
	return errors.Join(errs...)
}
