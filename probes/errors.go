package probes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrNotPermitted says that what was asked answered, and refused the probe for what this user
	// may do and not for the state it is in. A permission is missing (NOPERM), a password is
	// missing or wrong (NOAUTH, WRONGPASS), or there is protected mode (DENIED). So it is with a
	// command that the server or a proxy does not offer, and with 401 and 403 of the REST API. It
	// is no sign of ill health, and asking again will not help. Nor is it a sign of health: of a
	// 401 all that is known is that the API answers. Where [redis.IsAuthError] holds as well, this
	// user's other commands are refused too.
	ErrNotPermitted = errors.New("probes: not permitted")

	// ErrNoVerdict says that the context given to Run ended before there was a
	// verdict. The error wraps [context.Canceled] or [context.DeadlineExceeded] too.
	ErrNoVerdict = errors.New("probes: no verdict")

	// ErrStillRunning says that an earlier probe of this database ran into its
	// timeout and has not returned yet, so that no further one was started.
	ErrStillRunning = errors.New("probes: previous probe still running")
)

// Outcome is how a check ended.
type Outcome int

const (
	// Passed: the database can serve.
	Passed Outcome = iota
	// Failed: it cannot, or did not say so in time.
	Failed
	// NotPermitted: it answered, and the probe may not do its work; see
	// [ErrNotPermitted]. No reason to leave a database, and none to move to it.
	NotPermitted
	// NoVerdict: the caller gave up first; see [ErrNoVerdict].
	NoVerdict
)

// String returns passed, failed, not permitted or no verdict.
func (o Outcome) String() string {
	switch o {
	case Passed:
		return "passed"
	case Failed:
		return "failed"
	case NotPermitted:
		return "not permitted"
	case NoVerdict:
		return "no verdict"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// OutcomeOf tells from what [Check.Run] or [Checks.Run] returned how it ended.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Passed
	case errors.Is(err, ErrNoVerdict):
		return NoVerdict
	case errors.Is(err, ErrNotPermitted):
		return NotPermitted
	}
	return Failed
}

// CheckError is what [Check.Run] returns unless the check passed. It unwraps to
// the error of the last probe, or to [ErrNoVerdict] and the error of the context.
type CheckError struct {
	Probe    string // name of the probe
	Database string // name of the database
	Policy   Policy
	Passed   int // probes that passed
	Failed   int // probes that failed; the rest of Probes were not needed
	Probes   int // probes that the check had
	Err      error
}

// Error says which probe of which database failed how often, and why.
func (e *CheckError) Error() string {
	if e.Probes > 1 {
		return fmt.Sprintf("probe %s of database %q: %d passed and %d failed of %d (policy %s): %v",
			e.Probe, e.Database, e.Passed, e.Failed, e.Probes, e.Policy, e.Err)
	}
	return fmt.Sprintf("probe %s of database %q: %v", e.Probe, e.Database, e.Err)
}

// Unwrap returns Err.
func (e *CheckError) Unwrap() error { return e.Err }

// PanicError is the failure of a probe that panicked.
type PanicError struct {
	Value any    // what the probe panicked with
	Stack []byte // where, as runtime/debug.Stack has it
}

// Error returns the value without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("probe panicked: %v", e.Value) }

// Unwrap returns the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// permission marks an error reply with ErrNotPermitted if it is about this user's
// rights. Everything else is left as it is, and READONLY, LOADING, MASTERDOWN,
// CLUSTERDOWN, OOM, MISCONF, BUSY and the like are among it: those are answers too,
// but they say that the database cannot serve now.
func permission(err error) error {
	if err == nil {
		return nil
	}
	if redis.IsPermissionError(err) || redis.IsAuthError(err) {
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		for _, refusal := range [...]string{
			"DENIED ",             // protected mode
			"ERR unknown command", // renamed away, or a proxy without it
			"ERR AUTH ",           // AUTH with a password where none is configured (before Redis 6: ERR Client sent AUTH)
			"ERR Client sent AUTH",
		} {
			if strings.HasPrefix(reply.Error(), refusal) {
				return fmt.Errorf("%w: %w", ErrNotPermitted, err)
			}
		}
	}
	return err
}
