package probes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"

	"github.com/redishook/multidb/internal/callback"
)

// Checks are several checks that must all pass.
type Checks []Check

// errNoChecks keeps an empty list from passing: nobody was asked.
var errNoChecks = fmt.Errorf("%w: no checks to run", ErrNoVerdict)

// Run runs all checks at the same time and returns nil if all passed. The first one
// to fail ends the others, whose answers are void, and its error is returned. If
// none failed, no verdict wins over not permitted. Without a check there is no
// verdict.
//
// Run returns when all checks have, which they do in time: see [Check.Run]. Safe
// for concurrent use.
func (cs Checks) Run(ctx context.Context, db Target) error {
	switch len(cs) {
	case 0:
		return errNoChecks
	case 1:
		return cs[0].Run(ctx, db)
	}

	all, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		errs = make(chan error, len(cs)) // in the order in which the checks ended
	)
	for _, c := range cs {
		wg.Go(func() {
			err := c.Run(all, db)
			if OutcomeOf(err) == Failed {
				// Before the cancellation, so that what it causes comes after it.
				errs <- err
				cancel()
				return
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)

	var worst error
	for err := range errs {
		if rank(err) > rank(worst) {
			worst = err
		}
	}
	return worst
}

// rank orders how checks ended: of equals the first one is returned.
func rank(err error) int {
	switch OutcomeOf(err) {
	case Failed:
		return 3
	case NoVerdict:
		return 2
	case NotPermitted:
		return 1
	}
	return 0
}

// Validate reports everything that is wrong with the checks, each problem with the
// index of its check and the name of its field, joined.
func (cs Checks) Validate() error {
	var problems []error
	for i, c := range cs {
		for _, problem := range c.problems() {
			problems = append(problems, fmt.Errorf("[%d].%w", i, problem))
		}
	}
	return errors.Join(problems...)
}

// Evicting returns the checks that may cause a move away from a database: all but
// those whose probe [GatesOnly].
func (cs Checks) Evicting() Checks {
	var evicting Checks
	for _, c := range cs {
		if !GatesOnly(c.Probe) {
			evicting = append(evicting, c)
		}
	}
	return evicting
}

// Close closes the probes of all checks, each once however many checks have it; see [Close]. A probe and a [Gate] around it are one.
func (cs Checks) Close() error {
	var done []io.Closer
	var errs []error
	for _, c := range cs {
		closer, ok := find[io.Closer](c.Probe)
		if !ok || slices.ContainsFunc(done, func(d io.Closer) bool { return same(d, closer) }) {
			continue
		}
		done = append(done, closer)
		errs = append(errs, closeGuarded(closer))
	}
	return errors.Join(errs...)
}

// same reports whether two are one. What cannot be compared is nobody else's: it was copied to here.
func same(a, b io.Closer) bool {
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// closeGuarded turns a panic into an error, so that the other probes are closed all the same.
func closeGuarded(c io.Closer) (err error) {
	if v := callback.Guard(func() { err = c.Close() }); v != nil {
		return &PanicError{Value: v.Value, Stack: v.Stack}
	}
	return err
}
