package probes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redishook/multidb/internal/wait"
)

const (
	defaultProbes  = 3
	defaultDelay   = 500 * time.Millisecond
	defaultTimeout = time.Second

	maxTimeout = 24 * time.Hour // more than anybody means: the end of a longer one may be after the end of time
)

// Check is a probe run several times, and the policy that makes one verdict of the
// answers. It is a plain value: copy it, share it between databases.
//
// Safe for concurrent use.
type Check struct {
	// Probe is what is asked. Required.
	Probe Probe

	// Probes is how often it is asked at most; it stops as soon as the verdict
	// cannot change. 0 = 3. Negative is a mistake, and runs as 0 does.
	Probes int

	// Delay is the time between the end of one probe and the start of the next.
	// 0 = 500 ms, negative = none.
	Delay time.Duration

	// Timeout is how long each probe may take; an answer that comes later does not
	// count. 0 = 1 s. It cannot be switched off: a probe without a bound could hold up its
	// database's checks for ever. Negative is a mistake, and runs as 0 does.
	Timeout time.Duration

	// Policy is how many probes must pass. 0 = All.
	Policy Policy
}

// Validate reports everything that is wrong with the check, each problem with the name of its
// field, joined. It returns nil if the check can be run.
func (c Check) Validate() error { return errors.Join(c.problems()...) }

func (c Check) problems() []error {
	var problems []error
	if c.Probe == nil {
		problems = append(problems, errors.New("Probe = nil; must be set"))
	}
	if c.Probes < 0 {
		problems = append(problems, fmt.Errorf("Probes = %d; must be > 0, or 0 for %d", c.Probes, defaultProbes))
	}
	if c.Timeout < 0 {
		problems = append(problems, fmt.Errorf("Timeout = %v; must be > 0, or 0 for %v", c.Timeout, defaultTimeout))
	}
	if c.Timeout > maxTimeout {
		problems = append(problems, fmt.Errorf("Timeout = %v; must be <= %v", c.Timeout, maxTimeout))
	}
	if c.Delay > maxTimeout {
		problems = append(problems, fmt.Errorf("Delay = %v; must be <= %v", c.Delay, maxTimeout))
	}
	if c.Policy < All || c.Policy > Any {
		problems = append(problems, fmt.Errorf("Policy = %d; must be All, Majority or Any", int(c.Policy)))
	}
	return problems
}

// withDefaults returns the check as it is run.
func (c Check) withDefaults() Check {
	if c.Probes <= 0 {
		c.Probes = defaultProbes
	}
	if c.Delay == 0 {
		c.Delay = defaultDelay
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

// Run runs the check against db. It returns nil if the check passed, and a [*CheckError] otherwise;
// [OutcomeOf] tells failed from not permitted and from no verdict.
//
// When ctx ends there is no verdict, whether it was cancelled or its deadline is over. Timeout says
// how long a database may take, and a caller's own deadline is never held against the database. A
// ctx that is shorter than Timeout therefore hides a database that hangs.
//
// A probe that refuses for want of permission ends the check at once, since asking
// again gets the same answer.
//
// Run returns in time even if the probe does not: the probe is left to itself and
// its answer is void. While it has not returned, Run with the same probe and database fails at once
// with [ErrStillRunning]. So a probe that hangs costs one goroutine and not one per round. (Runs
// that overlap may leave one each.) One that was cut short by the end of ctx is first given the
// rest of its Timeout, and 100 ms to return.
//
// Run starts no goroutine that outlives it otherwise. Safe for concurrent use.
func (c Check) Run(ctx context.Context, db Target) error {
	c = c.withDefaults()
	result := &CheckError{Database: db.Name, Policy: c.Policy, Probes: c.Probes}
	fail := func(err error) error {
		result.Err = err
		return result
	}
	if c.Probe == nil {
		result.Probe = "<nil>"
		return fail(errors.New("Probe is nil"))
	}
	result.Probe = Name(c.Probe)

	for {
		err := attempt(ctx, c.Probe, db, c.Timeout)
		if ctx.Err() != nil {
			return fail(noVerdict(ctx))
		}
		if err == nil {
			result.Passed++
		} else {
			result.Failed++
		}
		first := result.Passed+result.Failed == 1
		if errors.Is(err, ErrNotPermitted) || first && errors.Is(err, ErrStillRunning) {
			return fail(err)
		}
		if c.Policy.passes(result.Passed, c.Probes) {
			return nil
		}
		if c.Policy.fails(result.Failed, c.Probes) {
			return fail(err)
		}
		if !wait.For(ctx, c.Delay) {
			return fail(noVerdict(ctx))
		}
	}
}

// noVerdict tells why ctx ended, with its cause when that says more.
func noVerdict(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w: %w", ErrNoVerdict, err, cause)
	}
	return fmt.Errorf("%w: %w", ErrNoVerdict, err)
}
