package multidb

import (
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
)

// ErrNoDatabase says that no database is usable now: all of them fail their health checks. A caller gets it at once,
// without a request having been sent; the first database that answers again is used at once. Test with [errors.Is].
var ErrNoDatabase = database.ErrNone

// ErrClosed is what the control methods of a [Hook] return after [Hook.Close]. Commands do not: a closed hook lets
// them through to the database that was active last.
var ErrClosed = database.ErrClosed

// ErrUnknownDatabase is returned, wrapped with the name, by methods that take the name of a database.
var ErrUnknownDatabase = database.ErrUnknown

// CommandError says on which database a command failed, and whether its request had been sent. It unwraps to the
// cause, so [errors.Is] and [errors.As] find what go-redis would have returned without the hook (io.EOF, a
// *net.OpError, context errors); where the cause is a [net.Error], so is the error that a caller gets. Replies of the
// server (redis.Nil, redis.Error) are never wrapped in it.
//
// Find it with [errors.As]:
//
//	var failed *multidb.CommandError
//	if errors.As(err, &failed) && failed.Sent {
//		// The command may or may not have been executed on failed.Database.
//	}
type CommandError struct {
	// Database is the name of the database on which the command failed; empty if there was none to send it to.
	Database string
	// Node is the address of the node on which it failed if the database is a cluster; empty otherwise.
	Node string
	// Sent is whether any part of the request may have reached the database. If it is false, the command was
	// certainly not executed. If it is true, nobody but the database knows.
	Sent bool
	// Err is the cause. Never nil.
	Err error

	id uint64 // of the database that had that name then, see blame.go
}

// Error names the database, whether the request was sent, and the cause.
func (e *CommandError) Error() string {
	sent := "not sent"
	if e.Sent {
		sent = "sent, not answered"
	}
	if e.Database == "" {
		return fmt.Sprintf("multidb: %s: %v", sent, e.Err)
	}
	if e.Node != "" {
		return fmt.Sprintf("multidb: database %q, node %s: %s: %v", e.Database, e.Node, sent, e.Err)
	}
	return fmt.Sprintf("multidb: database %q: %s: %v", e.Database, sent, e.Err)
}

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// SafeToRetry reports whether the command that failed with err was certainly not executed, so that running it again
// cannot apply it twice: it was never sent, or the server answered that it cannot serve now. It is false for nil, and for
// every error that leaves a doubt.
//
// The error of Exec speaks of the whole batch: it is safe if no command of the batch may have written. The error of each command
// speaks of that command.
//
// A script, a function, or a command that the library does not know may have written before it answered TRYAGAIN or READONLY, so
// SafeToRetry is false for the error of its command. The hook puts that on the error; a WithTimeout clone has no hook, so there
// only what the text says is known.
//
// It is false for EXECABORT: nothing was executed, but a retry may fail the same way. Package txwrap tells whether it may.
// Safe for concurrent use.
func SafeToRetry(err error) bool {
	if err == nil || err == redis.Nil { //nolint:errorlint // the most common answer, before the long way
		return false
	}
	// A chain may hold the errors of several attempts: one that was sent decides.
	sent, unsent := false, errors.Is(err, ErrNoDatabase)
	goredis.Walk(err, func(e error) bool {
		if goredis.IsBadConn(e) {
			unsent = true // the session was lost before, and what is behind this is the request that it was lost with
			return false
		}
		switch e := e.(type) { //nolint:errorlint // walk visits each link itself
		case *CommandError:
			sent = sent || e.Sent
			unsent = unsent || !e.Sent
		case interface{ unsafe() }: // see maybeExecuted
			sent = true
		}
		return true
	})
	if sent {
		return false
	}
	return unsent || notExecuted(err)
}

// commandError builds the error for a failed request: a net.Error exactly where the cause is one, because callers write
// err.(net.Error).Timeout(), an assertion that no Unwrap can serve.
func commandError(db *database.Database, sent bool, cause error) error {
	return nodeError(db, "", sent, cause)
}

// nodeError is commandError for a node of a cluster.
func nodeError(db *database.Database, node string, sent bool, cause error) error {
	e := newCommandError(db, sent, cause)
	e.Node = node
	return asNetError(e)
}

func asNetError(e *CommandError) error {
	cause := e.Err
	var ne net.Error
	if errors.As(cause, &ne) {
		return &netCommandError{CommandError: e, net: ne}
	}
	return e
}

func newCommandError(db *database.Database, sent bool, cause error) *CommandError {
	e := &CommandError{Sent: sent, Err: cause}
	if db != nil {
		e.Database, e.id = db.Name, db.ID
	}
	return e
}

// on is another failure on the same database.
func (e *CommandError) on(sent bool, cause error) *CommandError {
	return &CommandError{Database: e.Database, Node: e.Node, Sent: sent, Err: cause, id: e.id}
}

// sentFailure returns the CommandError in err if that leaves open whether the work was done.
func sentFailure(err error) *CommandError {
	var failed *CommandError
	if errors.As(err, &failed) && failed.Sent {
		return failed
	}
	return nil
}

// netCommandError is a CommandError whose cause is a net.Error.
type netCommandError struct {
	*CommandError
	net net.Error
}

func (e *netCommandError) Unwrap() error { return e.CommandError }
func (e *netCommandError) Timeout() bool { return e.net.Timeout() }

// Temporary completes net.Error. It is deprecated there, but part of the interface that callers assert.
func (e *netCommandError) Temporary() bool { return goredis.Temporary(e.net) }

// deadSession is the error of every request on a Conn or Tx whose connection was lost with an earlier one: this request
// was not sent, whatever became of that one. The cause stays visible.
func deadSession(db *database.Database, err error) error {
	cause := goredis.Cause(err)
	var earlier *CommandError
	if errors.As(cause, &earlier) {
		return earlier.on(false, fmt.Errorf("the connection of this session is lost: %w", earlier.Err))
	}
	return newCommandError(db, false, cause) // no net.Error itself, as go-redis' is none
}

// noDatabase is the answer while nothing is usable; last is what the command's last attempt met, if it had one.
func noDatabase(last error) error {
	if last == nil {
		return ErrNoDatabase
	}
	if errors.Is(last, ErrNoDatabase) {
		return last
	}
	return fmt.Errorf("%w (last attempt: %w)", ErrNoDatabase, last)
}
