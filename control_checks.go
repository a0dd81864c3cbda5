package multidb

import (
	"context"
	"errors"
	"slices"
)

// What a method of control asks of a database before it moves there.

// probeFor runs the whole set of checks of a database for a caller.
func (h *Hook) probeFor(ctx context.Context, db *database) error {
	err := db.health.Probe(ctx)
	if h.isClosed() {
		return ErrClosed
	}
	return err
}

// successor finds the database to go to when db is to be left.
func (h *Hook) successor(ctx context.Context, db *database) (*database, error) {
	var others []*database
	for _, other := range h.selector.all() {
		if other != db && other.health.Usable() {
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
