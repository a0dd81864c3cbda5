package goredis

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// The errors of requests of which nothing was sent.

// unsentError is the error of a request of which nothing was sent. go-redis runs that again by itself, which is right, but
// not on a connection that it cannot replace: the one of a Conn or a Tx, and the one whose handshake is under way. There its
// loop would ask the dead connection MaxRetries times, with backoff. So it sees the cause at most once, and not at all where a
// session has asked.
type unsentError struct {
	err     error
	session bool
	asked   atomic.Int32 // how often go-redis has asked whether to run the request again

	became atomic.Pointer[error] // what has become of the request in a later attempt, see Lost
	before *unsentError          // of the attempt before in the same goroutine, and at when; both for unsentPipelines alone
	at     time.Time
}

func (e *unsentError) Error() string { return e.cause().Error() }

func (e *unsentError) cause() error {
	if later := e.became.Load(); later != nil {
		return *later
	}
	return e.err
}

func (e *unsentError) Unwrap() error {
	if (e.session || e.asked.Load() > 1) && Asks(unsentMethods...) {
		return nil
	}
	return e.cause()
}

// Is counts: go-redis asks about io.EOF first, and once for each attempt (shouldRetry).
func (e *unsentError) Is(target error) bool {
	if target == io.EOF && Asks(unsentMethods...) { // that very question
		e.asked.Add(1)
	}
	return false
}

var unsentMethods = []string{methodsOf[unsentError](), methodsOf[unsentNetError]()}

// unsentNetError is unsentError around a net.Error. It is hidden in the way of noRetryNetError.
type unsentNetError struct {
	*unsentError
	net net.Error
}

func (e *unsentNetError) Timeout() bool { return e.now().Timeout() }

// Temporary completes net.Error, as callers assert it.
func (e *unsentNetError) Temporary() bool { return Temporary(e.now()) }

// now is the net.Error that it is about. One that has become something else says what that says, if anything.
func (e *unsentNetError) now() net.Error {
	if ne, ok := e.cause().(net.Error); ok { //nolint:errorlint // as Unsent asks
		return ne
	}
	return e.net
}

func (e *unsentNetError) Is(target error) bool {
	return e.unsentError.Is(target) || target == context.Canceled && e.unsentError.Unwrap() == nil // that very question
}

// Unsent wraps the error of a request of which nothing was sent, for go-redis' own loop. If err is a net.Error itself, so is
// the result. It must be called by the goroutine that go-redis waits in, at the time of the failure.
func Unsent(err error) error {
	e := newUnsent(err)
	if has(pipelineLoop) {
		earlier.remember(e)
	}
	return asUnsentNet(e)
}

func newUnsent(err error) *unsentError { return &unsentError{err: err, session: OnSession()} }

func asUnsentNet(e *unsentError) error {
	err := e.err
	if ne, ok := err.(net.Error); ok { //nolint:errorlint // built as one by the caller
		return &unsentNetError{e, ne}
	}
	return e
}

// isUnsent reports an error that Unsent or Handshake has made.
func isUnsent(err error) bool {
	switch err.(type) { //nolint:errorlint // as go-redis has put it on a command
	case *unsentError, *unsentNetError:
		return true
	}
	return IsHandshakeError(err)
}

// handshakeError is the error of a handshake or a dial. The loop that runs HELLO sees nothing behind it: the connection is
// dead, and whoever waits for it has to take another one. go-redis takes one layer off the errors of its handshake, whatever
// it is: under this one is an unsentError.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }

func (e *handshakeError) Unwrap() error {
	if InHandshake() && Asks(handshakeMethods...) {
		return nil
	}
	return e.err
}

var handshakeMethods = []string{methodsOf[handshakeError](), methodsOf[handshakeNetError]()}

// handshakeNetError is handshakeError around a net.Error.
type handshakeNetError struct {
	*handshakeError
	net net.Error
}

func (e *handshakeNetError) Timeout() bool { return e.net.Timeout() }

// Temporary completes net.Error, as callers assert it.
func (e *handshakeNetError) Temporary() bool { return Temporary(e.net) }

// Is tells go-redis not to run a step of the handshake again.
func (e *handshakeNetError) Is(target error) bool {
	return target == context.Canceled && e.handshakeError.Unwrap() == nil // that very question
}

// IsHandshakeError reports an error of the handshake on its way to go-redis.
func IsHandshakeError(err error) bool {
	switch err.(type) { //nolint:errorlint // asked before anybody can have wrapped it
	case *handshakeError, *handshakeNetError:
		return true
	}
	return false
}

// Handshake wraps the error of a handshake or a dial. If err is a net.Error itself, so is the result.
func Handshake(err error) error {
	e := &handshakeError{asUnsentNet(newUnsent(err))} // go-redis puts it on commands in the end only
	if ne, ok := err.(net.Error); ok {                //nolint:errorlint // built as one by the caller
		return &handshakeNetError{e, ne}
	}
	return e
}

// SentBefore marks the cause of the failure of a request of full duplex: nothing of the request was sent in this attempt, and an
// attempt before may have been, if the request is harmless.
type SentBefore struct{ Err error }

func (e *SentBefore) Error() string { return e.Err.Error() }

// Unwrap returns the cause itself.
func (e *SentBefore) Unwrap() error { return e.Err }
