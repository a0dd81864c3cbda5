package multidb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/redishook/multidb/internal/wait"
	"github.com/redishook/multidb/probes"
)

// Active returns the name of the active database; while none is usable, of the one that was active last. One atomic
// load. Safe for concurrent use.
func (h *Hook) Active() string { return h.active.Load().db.name }

// SetActive moves to a database if it passes its whole set of checks now, as a planned switch: nothing is lost. The
// epoch stands until [Hook.Release], another manual choice, or until the database fails; failback does not undo it. The
// errors are ErrUnknownDatabase (it may have been removed meanwhile), ErrClosed, the context's, and that of the check, or
// of whatever the database has failed with since. Safe for concurrent use.
func (h *Hook) SetActive(ctx context.Context, name string) error {
	if err := requireContext(ctx, "SetActive"); err != nil {
		return err
	}
	db, err := h.known(name)
	if err != nil {
		return err
	}
	if err := h.probeFor(ctx, db); err != nil {
		if db.health.Removed() {
			return gone(db)
		}
		return notHealthy(db, err)
	}
	h.prepare(db)
	return h.selector.pin(db, 0, false)
}

// ForceActive moves to a database without asking it, and holds it there for d, or until [Hook.Release] if d is 0: an
// operator may know better than the health checks. The breaker of the database is closed for it, so the switch is
// undone only by evidence that comes after. Safe for concurrent use.
func (h *Hook) ForceActive(name string, d time.Duration) error {
	db, err := h.known(name)
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("multidb: ForceActive: d = %v: must not be negative (0 holds until Release)", d)
	}
	h.prepare(db)
	if !db.health.Usable() {
		db.traffic.Reset() // they run without a lock, so before the breaker closes
	}
	return h.selector.pin(db, d, true)
}

// Release ends a manual choice: from here on the databases are chosen automatically again. It switches nothing by
// itself. Safe for concurrent use.
func (h *Hook) Release() { h.selector.unpin(0) }

// SetWeight changes the weight of a database. If another database is preferred then, and may be returned to (see
// Failback), it is moved to as planned once it has passed its checks, which happens in the background. Safe for
// concurrent use.
func (h *Hook) SetWeight(name string, weight float64) error {
	db, err := h.known(name)
	if err != nil {
		return err
	}
	if err := validWeight(weight); err != nil {
		return fmt.Errorf("multidb: SetWeight: weight = %v: %w", weight, err)
	}
	h.selector.mu.Lock()
	before := db.getWeight()
	db.setWeight(weight)
	h.selector.version++
	h.events.changed(Change{Kind: ChangeWeight, Database: name, Weight: weight, Before: before}, "")
	dbs := slices.Clone(h.selector.dbs)
	h.selector.mu.Unlock()
	recheckAll(dbs)
	return nil
}

// Add adds a database and waits for its first health check, or until ctx ends; it has been added then all the same.
// The error is that of the options, each problem with the name of its field. Safe for concurrent use.
func (h *Hook) Add(ctx context.Context, spec Database) error {
	if err := requireContext(ctx, "Add"); err != nil {
		return err
	}
	spec = spec.withDefaults()
	if err := spec.validate("Database"); err != nil {
		return fmt.Errorf("multidb: Add: %w", err)
	}
	if spec.isCluster() != h.isCluster() {
		return errors.New("multidb: Add: Database: must be a cluster if the others are, and else must not")
	}
	db, err := h.newDatabase(spec, 0)
	if err != nil {
		return fmt.Errorf("multidb: Add: Database.%w", err)
	}
	for added := false; !added; {
		// AddProbe and RemoveProbe may come in between, and what they do is for this one too.
		checks, version := h.selector.laterChecks()
		if spec.Checks == nil {
			db.prober.SetChecks(db.prober.NewChecks(checks))
		}
		if added, err = h.selector.add(db, version); err != nil {
			_ = db.prober.Close()
			return err
		}
	}
	h.workers.Go(func() { db.health.Run(db.order) })
	select {
	case <-db.health.FirstVerdict():
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
	return nil
}

// Remove removes a database. If it is active, the best of the others that passes its checks is moved to first, as
// planned; if there is none, nothing is removed. The last database cannot be removed. Sessions on it may finish within
// DrainTimeout, in the background. Safe for concurrent use.
func (h *Hook) Remove(ctx context.Context, name string) error {
	if err := requireContext(ctx, "Remove"); err != nil {
		return err
	}
	db, err := h.known(name)
	if err != nil {
		return err
	}
	for {
		removed, err := h.selector.remove(db)
		if err != nil || removed {
			if removed {
				h.retire(db)
				h.selector.review()
			}
			return err
		}
		to, err := h.successor(ctx, db)
		if err != nil {
			return fmt.Errorf("multidb: database %q is active and cannot be removed: %w", name, err)
		}
		h.prepare(to)
		h.selector.leave(db, to)
	}
}

// known finds a database for a method of control.
func (h *Hook) known(name string) (*database, error) {
	if h.isClosed() {
		return nil, ErrClosed
	}
	if db := h.selector.find(name); db != nil {
		return db, nil
	}
	var names []string
	for _, db := range h.selector.all() {
		names = append(names, db.name)
	}
	return nil, fmt.Errorf("%w %q (known: %q)", ErrUnknownDatabase, name, names)
}

// retire ends a database that has been removed: its sessions drain, its client closes. If the hook closes meanwhile, the
// sessions are left alone, as in a drain.
func (h *Hook) retire(db *database) {
	spawned := h.workers.Go(func() {
		if db.conns.Draining() {
			wait.For(h.ctx, h.opt.DrainTimeout)
		}
		if !h.isClosed() {
			db.conns.CutAll()
		}
		_ = db.prober.Close()
		if err := db.prober.Checks().All.CloseUnused(h.selector.left(db)); err != nil {
			h.events.leftOpen(db.name, err)
		}
	})
	if !spawned {
		_ = db.prober.Close() // its probes are left to Close
	}
}

// left notes that a removed database needs its probes no longer, and returns the checks that are still needed: in one step,
// so that of two databases that leave together the second one closes what they share.
func (s *selector) left(db *database) probes.Checks {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = slices.DeleteFunc(s.leaving, func(d *database) bool { return d == db })
	return s.probing()
}

// pin makes db the manual choice, for d or until released. The database may have failed since the caller looked: without
// force it is not moved to then, with force its breaker is closed. That is decided under mu, so that evidence against the
// database is either seen here or reviewed by whoever has it after the choice.
func (s *selector) pin(db *database, d time.Duration, force bool) error {
	done, err := s.pinLocked(db, d, force)
	done()
	s.review()
	return err
}

func (s *selector) pinLocked(db *database, d time.Duration, force bool) (done func(), err error) {
	done = func() {}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return done, ErrClosed
	case db.health.Removed():
		return done, gone(db)
	case force:
		db.health.Force()
	case !db.health.Usable():
		return done, notHealthy(db, db.health.Trouble())
	}
	if s.pinned == db {
		s.dropPin("") // the same again: it goes on
	}
	s.dropPin(UnpinnedReplaced)
	s.pinned = db
	s.pinNumber++
	s.h.events.changed(Change{Kind: ChangePinned, Database: db.name, Weight: db.getWeight(), For: d}, "")
	if this := s.pinNumber; d > 0 {
		s.unpinTimer = time.AfterFunc(d, func() { s.unpin(this) })
	}
	s.version++
	now, stands := s.h.active.Load(), s.effective()
	if now.db != db || now.down || stands.db != db || stands.down {
		done = s.publish(db, false, now.db.health.Usable() && !now.down, ReasonManual, nil)
	}
	return done, nil
}

// gone is the error of a method of control whose database has been removed meanwhile.
func gone(db *database) error { return fmt.Errorf("%w %q", ErrUnknownDatabase, db.name) }

func notHealthy(db *database, err error) error {
	return fmt.Errorf("multidb: database %q is not healthy, so it was not made active: %w", db.name, err)
}

// unpin ends the manual choice with that number, or whichever it is if the number is 0.
func (s *selector) unpin(which uint64) {
	s.mu.Lock()
	if which != 0 && which != s.pinNumber {
		s.mu.Unlock()
		return
	}
	why := UnpinnedOver
	if which == 0 {
		why = UnpinnedReleased
	}
	s.dropPin(why)
	s.version++
	dbs := slices.Clone(s.dbs)
	s.mu.Unlock()
	recheckAll(dbs)
}

// add puts a database behind the others, unless anything has moved since that version.
func (s *selector) add(db *database, version uint64) (added bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, ErrClosed
	}
	if s.lookup(db.name) != nil {
		return false, fmt.Errorf("multidb: Add: Database.Name = %q: is in use already", db.name)
	}
	if s.version != version {
		return false, nil
	}
	db.order = s.dbs[len(s.dbs)-1].order + 1
	db.weightAtLastSwitch = db.getWeight()
	s.dbs = append(s.dbs, db)
	s.version++
	s.h.events.changed(Change{Kind: ChangeAdded, Database: db.name, Weight: db.getWeight()}, db.endpoint().Addr)
	return true, nil
}

// remove takes a database out unless it is active (false, nil) or the last one.
func (s *selector) remove(db *database) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return false, ErrClosed
	case s.lookup(db.name) != db:
		return false, gone(db)
	case len(s.dbs) == 1:
		return false, fmt.Errorf("multidb: database %q is the last one and cannot be removed", db.name)
	case s.h.active.Load().db == db:
		return false, nil
	}
	db.health.Remove()
	if s.effective().db == db {
		s.shadow.Store(nil) // a dry run goes on from where we are
	}
	s.dbs = slices.DeleteFunc(slices.Clone(s.dbs), func(d *database) bool { return d == db })
	s.leaving = append(s.leaving, db)
	s.version++
	s.h.events.changed(Change{Kind: ChangeRemoved, Database: db.name, Weight: db.getWeight()}, db.endpoint().Addr)
	return true, nil
}

// leave moves from db to another database because db is to be removed.
func (s *selector) leave(db, to *database) {
	s.mu.Lock()
	done := func() {}
	now := s.h.active.Load()
	if !s.closed && now.db == db && to.health.Usable() {
		done = s.publish(to, false, !now.down && db.health.Usable(), ReasonRemoved, nil)
	}
	s.mu.Unlock()
	done()
}

func validWeight(w float64) error {
	if math.IsNaN(w) || math.IsInf(w, 0) || w <= 0 {
		return errors.New("must be a finite number > 0")
	}
	return nil
}
