package multidb

import (
	"errors"
	"fmt"
	"net"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
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
// cause: [errors.Is] and [errors.As] find what go-redis would have returned without the hook (io.EOF, a
// *net.OpError, context errors). Where the cause is a [net.Error], so is the error that a caller gets. Replies of
// the server (redis.Nil, redis.Error) are never wrapped in it.
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

// SafeToRetry reports whether the command that failed with err was certainly not executed, so that running it
// again cannot apply it twice. It was never sent then, or the server answered that it cannot serve now. It is
// false for nil, and for every error that leaves a doubt.
//
// The error of Exec speaks of the whole batch: it is safe if no command of the batch may have written. The error of each command
// speaks of that command.
//
// A script, a function, or a command that the library does not know may have written before it answered TRYAGAIN
// or READONLY. So SafeToRetry is false for the error of its command. The hook puts that on the error; a
// WithTimeout clone has no hook, so there only what the text says is known.
//
// It is false for EXECABORT: nothing was executed, but a retry may fail the same way. Package txwrap tells whether it may.
// Safe for concurrent use.
func SafeToRetry(err error) bool {
	return failure.SafeToRetry(commandErrors{}, err)
}

// commandError builds the error for a failed request: a net.Error exactly where the cause is one, because callers write
// err.(net.Error).Timeout(), an assertion that no Unwrap can serve.
func commandError(db *database.Database, sent bool, cause error) error {
	return nodeError(db, "", sent, cause)
}

// nodeError is commandError for a node of a cluster.
func nodeError(db *database.Database, node string, sent bool, cause error) error {
	f := failure.On(db, sent, cause)
	f.Node = node
	return commandErrors{}.New(f)
}

func asNetError(e *CommandError) error {
	cause := e.Err
	var ne net.Error
	if errors.As(cause, &ne) {
		return &netCommandError{CommandError: e, net: ne}
	}
	return e
}

// commandErrors makes and reads CommandErrors, see failure.Errors.
type commandErrors struct{}

func (commandErrors) Find(err error) *failure.Failure {
	var failed *CommandError
	if !errors.As(err, &failed) {
		return nil
	}
	return failed.failure()
}

func (commandErrors) Of(err error) *failure.Failure {
	if failed, ok := err.(*CommandError); ok { //nolint:errorlint // the link itself is asked about
		return failed.failure()
	}
	return nil
}

func (commandErrors) New(f failure.Failure) error   { return asNetError(newCommandError(f)) }
func (commandErrors) Plain(f failure.Failure) error { return newCommandError(f) }

func newCommandError(f failure.Failure) *CommandError {
	return &CommandError{Database: f.Database, Node: f.Node, Sent: f.Sent, Err: f.Err, id: f.ID}
}

func (e *CommandError) failure() *failure.Failure {
	return &failure.Failure{Database: e.Database, ID: e.id, Node: e.Node, Sent: e.Sent, Err: e.Err}
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
