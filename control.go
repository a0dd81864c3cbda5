package multidb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/selector"
)

// Active returns the name of the active database; while none is usable, of the one that was active last. One atomic
// load. Safe for concurrent use.
func (h *Hook) Active() string { return h.selector.Current().DB.Name }

// SetActive moves to a database if it passes its whole set of checks now, as a planned switch: nothing is lost. The
// epoch stands until [Hook.Release], another manual choice, or until the database fails; failback does not undo
// it. The error is ErrUnknownDatabase (it may have been removed meanwhile), ErrClosed, that of the context, or
// that of the check. If the database has failed since, it is that of the failure. Safe for concurrent use.
func (h *Hook) SetActive(ctx context.Context, name string) error {
	if err := requireContext(ctx, "SetActive"); err != nil {
		return err
	}
	db, err := h.known(name)
	if err != nil {
		return err
	}
	if err := h.probeFor(ctx, db); err != nil {
		if db.Health.Removed() {
			return selector.Gone(db)
		}
		return selector.NotHealthy(db, err)
	}
	h.prepare(db)
	return h.selector.Pin(db, 0, false)
}

// ForceActive moves to a database without asking it: an operator may know better than the health checks. The
// choice stands for d, or until [Hook.Release] if d is 0. The breaker of the database is closed for it, so the
// switch is undone only by evidence that comes after. Safe for concurrent use.
func (h *Hook) ForceActive(name string, d time.Duration) error {
	db, err := h.known(name)
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("multidb: ForceActive: d = %v: must not be negative (0 holds until Release)", d)
	}
	h.prepare(db)
	if !db.Health.Usable() {
		db.Traffic.Reset() // they run without a lock, so before the breaker closes
	}
	return h.selector.Pin(db, d, true)
}

// Release ends a manual choice: from here on the databases are chosen automatically again. It switches nothing by
// itself. Safe for concurrent use.
func (h *Hook) Release() { h.selector.Unpin(0) }

// SetWeight changes the weight of a database. Another database may be preferred then. If it may be returned to
// (see Failback), the hook moves to it as planned, in the background, once it has passed its checks. Safe for
// concurrent use.
func (h *Hook) SetWeight(name string, weight float64) error {
	db, err := h.known(name)
	if err != nil {
		return err
	}
	if err := validWeight(weight); err != nil {
		return fmt.Errorf("multidb: SetWeight: weight = %v: %w", weight, err)
	}
	h.selector.SetWeight(db, weight)
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
	db, err := builder{h}.newDatabase(spec, 0)
	if err != nil {
		return fmt.Errorf("multidb: Add: Database.%w", err)
	}
	for added := false; !added; {
		// AddProbe and RemoveProbe may come in between, and what they do is for this one too.
		checks, version := h.selector.LaterChecks()
		if spec.Checks == nil {
			db.Prober.SetChecks(db.Prober.NewChecks(checks))
		}
		if added, err = h.selector.Add(db, version); err != nil {
			_ = db.Prober.Close()
			return err
		}
	}
	h.workers.Go(func() { db.Health.Run(db.Order) })
	select {
	case <-db.Health.FirstVerdict():
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
	return nil
}

// Remove removes a database. If it is active, the hook first moves, as planned, to the best of the others that
// passes its checks. If none passes, nothing is removed. The last database cannot be removed. Sessions on it may
// finish within DrainTimeout, in the background. Safe for concurrent use.
func (h *Hook) Remove(ctx context.Context, name string) error {
	if err := requireContext(ctx, "Remove"); err != nil {
		return err
	}
	db, err := h.known(name)
	if err != nil {
		return err
	}
	for {
		removed, err := h.selector.Remove(db)
		if err != nil || removed {
			if removed {
				h.retire(db)
				h.selector.Review()
			}
			return err
		}
		to, err := successor(ctx, h, db)
		if err != nil {
			return fmt.Errorf("multidb: database %q is active and cannot be removed: %w", name, err)
		}
		h.prepare(to)
		h.selector.Leave(db, to)
	}
}

// retire ends a database that has been removed: its sessions drain, its client closes.
func (h *Hook) retire(db *database.Database) {
	if end := func() { _ = db.Prober.Close() }; !h.switchover.Retire(db, end) {
		end()
	}
}
