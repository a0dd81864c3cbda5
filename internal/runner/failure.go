package runner

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
)

// Failure is what an error says of a request that has failed.
type Failure struct {
	Database string // its name; empty if there was none
	ID       uint64 // its number, see database.Find
	Node     string // the address of the node of a cluster
	Sent     bool   // any part of the request may have reached the database
	Err      error  // the cause
}

// FailureOn is a failure on a database; nil: there was none.
func FailureOn(db *database.Database, sent bool, cause error) Failure {
	f := Failure{Sent: sent, Err: cause}
	if db != nil {
		f.Database, f.ID = db.Name, db.ID
	}
	return f
}

// on is another failure on the same database.
func (f Failure) on(sent bool, cause error) Failure {
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

// failures is Errors with what a runner asks of them.
type failures struct{ Errors }

// sent returns the failure in err if that leaves open whether the work was done.
func (f failures) sent(err error) *Failure {
	if failed := f.Find(err); failed != nil && failed.Sent {
		return failed
	}
	return nil
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

// deadSession is the error of every request on a Conn or Tx whose connection was lost with an earlier one: this request
// was not sent, whatever became of that one. The cause stays visible.
func (f failures) deadSession(db *database.Database, err error) error {
	cause := goredis.Cause(err)
	if earlier := f.Find(cause); earlier != nil {
		return f.Plain(earlier.on(false, fmt.Errorf("the connection of this session is lost: %w", earlier.Err)))
	}
	return f.Plain(FailureOn(db, false, cause)) // no net.Error itself, as go-redis' is none
}

// finishBatch makes the causes of failures visible again, on each command and in the error of the batch. That error is the
// first one of a command, as without the hook, unless a later command was sent and not answered: nobody may take the batch
// for one that was refused.
func (f failures) finishBatch(cmds []redis.Cmder, err error) error {
	var first, unknown error
	for _, cmd := range cmds {
		if e := cmd.Err(); e != nil {
			if r, changed := goredis.Uncover(e); changed {
				cmd.SetErr(r)
				e = r
			}
			if first == nil {
				first = e
			}
			if unknown == nil && f.sent(e) != nil {
				unknown = e
			}
		}
	}
	if unknown != nil {
		return unknown
	}
	if err != nil && first == nil {
		// The batch failed as a whole and go-redis left the commands as they were.
		return goredis.Cause(err)
	}
	return first
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
