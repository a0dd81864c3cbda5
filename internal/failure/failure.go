// Package failure is what an error of a command says: where the command failed, whether it was sent, and whether it may run again.
// The type of such an error belongs to the root, so all of it is asked of Errors.
package failure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redishook/multidb/internal/database"
)

// Failure is what an error says of a request that has failed.
type Failure struct {
	Database string // its name; empty if there was none
	ID       uint64 // its number, see database.Find
	Node     string // the address of the node of a cluster
	Sent     bool   // any part of the request may have reached the database
	Err      error  // the cause
}

// On is a failure on a database; nil: there was none.
func On(db *database.Database, sent bool, cause error) Failure {
	f := Failure{Sent: sent, Err: cause}
	if db != nil {
		f.Database, f.ID = db.Name, db.ID
	}
	return f
}

// Again is another failure on the same database.
func (f Failure) Again(sent bool, cause error) Failure {
	f.Sent, f.Err = sent, cause
	return f
}

// Errors makes and reads the errors of failures that callers get. Their type belongs to those who use it.
type Errors interface {
	// Find returns what the first such error in a chain says; nil if there is none.
	Find(err error) *Failure
	// Of is Find for the error itself, without what is behind it.
	Of(err error) *Failure
	// New makes such an error: a net.Error where its cause is one, because callers write err.(net.Error).Timeout().
	New(f Failure) error
	// Plain makes one that is no net.Error.
	Plain(f Failure) error
}

// DatabaseOf finds the database on which err happened: the one that the error names, or else the one that was active.
func DatabaseOf(known Errors, active *database.Database, err error) *database.Database {
	failed := known.Find(err)
	if failed == nil || failed.ID == 0 {
		return active
	}
	if db := database.Find(failed.ID); db != nil {
		return db // and not whatever has that name now
	}
	return database.Forgotten()
}

// NoDatabase is the answer while nothing is usable; last is what the command's last attempt met, if it had one.
func NoDatabase(last error) error {
	if last == nil {
		return database.ErrNone
	}
	if errors.Is(last, database.ErrNone) {
		return last
	}
	return fmt.Errorf("%w (last attempt: %w)", database.ErrNone, last)
}

// GaveUp reports whether the caller's context is over. The deadline is asked as well as the error: with
// ContextTimeoutEnabled the socket times out at the caller's deadline, which may be before the context's own timer has run.
func GaveUp(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}
