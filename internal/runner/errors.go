package runner

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
)

// failures reads and makes errors.
type failures struct{ failure.Errors }

// unsafe marks an error, if SafeToRetry would hold for it.
func (f failures) unsafe(err error) error { return failure.Unsafe(f, err) }

// sent returns the failure in err if that leaves open whether the work was done.
func (f failures) sent(err error) *failure.Failure {
	if failed := f.Find(err); failed != nil && failed.Sent {
		return failed
	}
	return nil
}

// deadSession is the error of every request on a Conn or Tx whose connection was lost with an earlier one: this request
// was not sent, whatever became of that one. The cause stays visible.
func (f failures) deadSession(db *database.Database, err error) error {
	cause := goredis.Cause(err)
	if earlier := f.Find(cause); earlier != nil {
		return f.Plain(earlier.Again(false, fmt.Errorf("the connection of this session is lost: %w", earlier.Err)))
	}
	return f.Plain(failure.On(db, false, cause)) // no net.Error itself, as go-redis' is none
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
