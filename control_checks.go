package multidb

import (
	"context"
	"errors"
	"slices"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/selector"
)

// What a method of control asks of a database before it moves there.

// probeFor runs the whole set of checks of a database for a caller.
func (h *Hook) probeFor(ctx context.Context, db *database.Database) error {
	err := db.Health.Probe(ctx)
	if h.isClosed() {
		return ErrClosed
	}
	return err
}

// successor finds the database to go to when db is to be left.
func successor(ctx context.Context, h *Hook, db *database.Database) (*database.Database, error) {
	var others []*database.Database
	for _, other := range h.selector.All() {
		if other != db && other.Health.Usable() {
			others = append(others, other)
		}
	}
	var errs []error
	for len(others) > 0 {
		to := selector.Choose(strategyOf(h.opt.Strategy), others)
		err := h.probeFor(ctx, to)
		if err == nil {
			return to, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
		others = slices.DeleteFunc(others, func(o *database.Database) bool { return o == to })
	}
	return nil, errors.Join(append([]error{errors.New("no other database is usable")}, errs...)...)
}
