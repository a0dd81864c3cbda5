package multidb

import (
	"context"
	"errors"
	"slices"
)

// What a method of control asks of a database before it moves there.

// probeFor runs the whole set of checks for a caller: a round of its own, after the one that is under way.
func (h *Hook) probeFor(ctx context.Context, db *database) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	generation := db.currentGeneration()
	err := h.pingWithin(ctx, db)
	if err == nil {
		err = h.ask(ctx, db, 1, h.connectAnew)
	}
	if err == nil {
		err = h.checkWholly(ctx, db)
	}
	if h.isClosed() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	h.restore(db, generation)
	if !db.usable() {
		return db.trouble() // it has failed since the first of the checks has passed
	}
	return nil
}

// checkWholly asks whatever a planned move to the database must pass. What may evict has the same say as in the background: a
// probe that is not permitted to ask keeps nobody out. A gate that is not permitted does.
func (h *Hook) checkWholly(ctx context.Context, db *database) error {
	if err := db.lockChecks(ctx); err != nil {
		return err
	}
	defer db.unlockChecks()
	set := db.checks.Load()
	if err := h.check(ctx, db, set.evicting); err != nil {
		return err
	}
	if err := db.degradedErr(); err != nil {
		return err
	}
	if len(set.gates) == 0 {
		return nil
	}
	return set.gates.Run(ctx, db.target)
}

func (h *Hook) pingWithin(ctx context.Context, db *database) error {
	return h.ask(ctx, db, 1, h.ping)
}

// successor finds the database to go to when db is to be left.
func (h *Hook) successor(ctx context.Context, db *database) (*database, error) {
	var others []*database
	for _, other := range h.selector.all() {
		if other != db && other.usable() {
			others = append(others, other)
		}
	}
	var errs []error
	for len(others) > 0 {
		to := choose(h.opt.Strategy, others, nil)
		err := h.probeFor(ctx, to)
		if err == nil {
			return to, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
		others = slices.DeleteFunc(others, func(o *database) bool { return o == to })
	}
	return nil, errors.Join(append([]error{errors.New("no other database is usable")}, errs...)...)
}
