package txwrap

import (
	"errors"
	"fmt"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
)

// UnansweredError says that EXEC was sent and not answered, so the transaction may or may not have been executed. Find
// it with [errors.As]; a *multidb.CommandError is behind it, whatever the function made of the error.
type UnansweredError struct {
	// Database is the name of the database that EXEC was sent to.
	Database string
	// Attempt is the number of the attempt that sent it, from 1. With RunUnansweredAgain it is the first such attempt and
	// not always the last one that was made.
	Attempt int
	// Err is what the function returned in the last attempt. Never nil.
	Err error

	exec error // what EXEC met
}

// Error names the database and the attempt.
func (e *UnansweredError) Error() string {
	return fmt.Sprintf("txwrap: database %q, attempt %d: EXEC was sent and not answered, so the transaction may or may not "+
		"have been executed: %v", e.Database, e.Attempt, e.Err)
}

// Unwrap returns what the function returned and what EXEC met.
func (e *UnansweredError) Unwrap() []error {
	if errors.Is(e.Err, e.exec) {
		return []error{e.Err}
	}
	return []error{e.Err, e.exec}
}

// sentError finds the failure of a request that was sent and not answered. Behind the error of a dead session is that of
// the request it died with, and the one at hand was not sent.
func sentError(err error) *multidb.CommandError {
	var failed *multidb.CommandError
	if errors.As(err, &failed) && failed.Sent && !goredis.IsSessionDead(err) {
		return failed
	}
	return nil
}
