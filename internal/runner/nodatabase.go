package runner

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/selector"
)

// The answer while nothing is usable. Code that goes on without a database asks for ECONNREFUSED or a net.Error, so the cause of the
// outage is in it, however late the command comes.

// noDatabase is failure.NoDatabase with the cause of the outage.
func (f failures) noDatabase(now *selector.Epoch, last error) error {
	err, cause := failure.NoDatabase(last), now.DB.Health.Trouble()
	for failed := f.Find(cause); failed != nil; failed = f.Find(cause) {
		cause = failed.Err // whether the request of somebody else was sent says nothing about this one
	}
	switch {
	case cause == nil || strings.Contains(err.Error(), cause.Error()):
		return err
	case goredis.IsReply(cause):
		return fmt.Errorf("%w (%v)", err, cause) //nolint:errorlint // it is no reply to this command
	}
	e := &outageError{err, cause}
	var ne net.Error
	if errors.As(err, &ne) || errors.As(cause, &ne) {
		return &netOutageError{e, ne}
	}
	return e
}

// outageError is the answer to a command, with the cause of the outage.
type outageError struct{ err, cause error }

func (e *outageError) Error() string   { return e.err.Error() + " (" + e.cause.Error() + ")" }
func (e *outageError) Unwrap() []error { return []error{e.err, e.cause} }

// netOutageError is one whose cause is a net.Error.
type netOutageError struct {
	*outageError
	net net.Error
}

func (e *netOutageError) Timeout() bool { return e.net.Timeout() }

// Temporary completes net.Error. It is deprecated there, but part of the interface that callers assert.
func (e *netOutageError) Temporary() bool { return goredis.Temporary(e.net) }
