package multidb

import (
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// What errors wear on their way from a connection through go-redis to the hook, so that go-redis does with them what is
// right and no more.

// noRetryError carries the error of a request past go-redis' own retry loop. That loop sends the request again, whatever it is
// and whether or not it was sent before (MaxRetries is 3 by default), if it can see an EOF or a net error in the chain.
// So this type answers by who asks: go-redis sees nothing behind it, everybody else the *CommandError and its cause. The
// hook takes the inner error out before a caller sees it; a client without our process hook (a WithTimeout clone) hands this
// one to its caller, who gets the same answers of errors.Is and errors.As as from the inner one.
type noRetryError struct {
	err  error
	mark atomic.Int32 // whether go-redis is about to put this error on answered commands as well, see Is
}

func (e *noRetryError) Error() string { return e.err.Error() }

// The states of noRetryError.mark.
const (
	markAll          = iota // not a failed read: let go-redis put it on every command of its batch
	markTail                // a failed read: the commands without an answer have it already
	markAskedToRetry        // and go-redis has asked whether to run the request again
	markAsked               // go-redis asks whether to put it on the others
	markAvoided             // and was told not to
)

// Is never holds for go-redis; it watches what it is asked. When a pipeline breaks off in the middle, go-redis puts the
// error on the commands that have no answer (pipelineReadCmds), which is right, and then, at the end of its retry loop, on
// all others as well, unless the error is a reply (pipelineErrShouldStamp: errors.Is(err, errConnUnusable) ||
// !isRedisError(err)). With that nobody can tell any more what has been answered. So that one question, known by what is
// asked right before it, is answered by As with yes, once: the answered commands keep their answers.
//
// It is that question only about the batch whose read failed. A session that has died with this error has it for every later
// request as well, none of which was sent, and there it belongs on all commands. go-redis asks about io.EOF once for each
// request (shouldRetry): from the second time on it is one of those.
//
// This hangs on the wording of one line of go-redis. If it changes, either the error is on all commands again and a test
// fails, or it is on none and the hook puts it there (stampUnanswered).
func (e *noRetryError) Is(target error) bool {
	if !askedByGoRedis() {
		return errors.Is(e.err, target)
	}
	return e.toGoRedisIs(target)
}

func (e *noRetryError) toGoRedisIs(target error) bool {
	switch mark := e.mark.Load(); {
	case mark != markTail && mark != markAskedToRetry || target == nil:
	case target.Error() == connUnusable:
		e.mark.Store(markAsked)
	case target == io.EOF && mark == markTail: //nolint:errorlint // that very question
		e.mark.Store(markAskedToRetry)
	case target == io.EOF: //nolint:errorlint // as above
		e.mark.Store(markAll)
	}
	return false
}

// connUnusable is the text of go-redis' errConnUnusable.
const connUnusable = "redis: connection unusable (reply stream desynchronized)"

// As finds what is behind; errors.As calls it. For go-redis that is the *CommandError at most, and the answer that Is is
// about.
func (e *noRetryError) As(target any) bool {
	if !askedByGoRedis() {
		return errors.As(e.err, target)
	}
	return e.toGoRedisAs(target)
}

func (e *noRetryError) toGoRedisAs(target any) bool {
	switch t := target.(type) {
	case **CommandError:
		return errors.As(e.err, t)
	case *redis.Error:
		if e.mark.CompareAndSwap(markAsked, markAvoided) {
			*t = noReply{e}
			return true
		}
	}
	return false
}

// noRetryNetError is noRetryError around a net.Error, and one itself, because callers write err.(net.Error).Timeout(): an assertion that
// nothing but a method can serve. go-redis finds the method as well and would run the request again for it. But it asks
// first, for the sake of context.DeadlineExceeded, which has that method too, whether a context has ended, and lets alone
// what says yes. Should the order of its questions ever change, this type is not used: see goRedisLeavesAlone.
type noRetryNetError struct {
	*noRetryError
	net net.Error
}

func (e *noRetryNetError) Timeout() bool { return e.net.Timeout() }

// Temporary completes net.Error, as for netCommandError.
func (e *noRetryNetError) Temporary() bool { return temporary(e.net) }

// Is is noRetryError.Is, and tells go-redis not to run the request again.
func (e *noRetryNetError) Is(target error) bool {
	return e.noRetryError.Is(target) || target == context.Canceled && askedByGoRedis() //nolint:errorlint // that very question
}

// As is noRetryError.As, and finds the hidden error.
func (e *noRetryNetError) As(target any) bool {
	if t, ok := target.(**noRetryError); ok {
		*t = e.noRetryError
		return true
	}
	return e.noRetryError.As(target)
}

// noRetry wraps an error in the hidden type that fits.
func noRetry(err error) error {
	if ne, ok := err.(net.Error); ok && goRedisLeavesAlone().noRetryNet { //nolint:errorlint // built by commandError
		return newNoRetryNetError(err, ne)
	}
	return &noRetryError{err: err}
}

// asNoRetry returns the hidden error that err is, of whichever type, or nil if it is none.
func asNoRetry(err error) *noRetryError {
	switch e := err.(type) { //nolint:errorlint // what is in the chain of another error is that one's
	case *noRetryError:
		return e
	case *noRetryNetError:
		return e.noRetryError
	}
	return nil
}

func newNoRetryNetError(err error, ne net.Error) *noRetryNetError {
	return &noRetryNetError{&noRetryError{err: err}, ne}
}

var (
	goRedisPackage = reflect.TypeFor[redis.Options]().PkgPath()
	noRetryMethods = reflect.TypeFor[noRetryError]().PkgPath() + ".(*noRetry"
)

// askedByGoRedis reports whether the question that a method of noRetryError is asked comes out of go-redis: by the function that
// has called errors.Is or errors.As. It walks the stack, for a failure only.
func askedByGoRedis() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])]) // from the method on
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasPrefix(frame.Function, "errors.") || strings.HasPrefix(frame.Function, noRetryMethods) {
			continue
		}
		rest, found := strings.CutPrefix(frame.Function, goRedisPackage)
		return found && rest != "" && (rest[0] == '.' || rest[0] == '/')
	}
	return true // nobody to be seen: the safe answer
}

// noReply is what As shows of an error that is no reply, when go-redis asks for one. Nobody keeps it.
type noReply struct{ error }

func (noReply) RedisError() {}

// causeOf makes the cause of a hidden error visible again, and keeps what other hooks may have wrapped around it.
func causeOf(err error) error {
	err, _ = uncover(err)
	return err
}

// uncover is reveal, and says whether that changed anything: errors may be of types that cannot be compared.
func uncover(err error) (revealedErr error, changed bool) {
	if e := asNoRetry(err); e != nil {
		return e.err, true
	}
	switch e := err.(type) { //nolint:errorlint // the common cases: not wrapped by others
	case nil:
		return nil, false
	case *handshakeError:
		return causeOf(e.err), true
	case *handshakeNetError:
		return causeOf(e.err), true
	}
	var lost *noRetryError
	if !errors.As(err, &lost) {
		return err, false
	}
	return &uncovered{outer: err, inner: lost.err}, true
}

// sameError reports whether two errors are one value.
func sameError(a, b error) bool {
	return reflect.TypeOf(a).Comparable() && a == b //nolint:errorlint // the same value, not the same kind
}

// uncovered is an error of another layer (a hook, go-redis' sticky pool) around a hidden one: the text and the types of
// the layers, and behind them the cause.
type uncovered struct{ outer, inner error }

func (e *uncovered) Error() string   { return e.outer.Error() }
func (e *uncovered) Unwrap() []error { return []error{e.outer, e.inner} }

// handshakeError is the error of a handshake or a dial. go-redis takes one layer off the errors of its handshake, whatever it is:
// without this one that would be the CommandError.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// handshakeNetError is layered around a net.Error.
type handshakeNetError struct {
	handshakeError
	net net.Error
}

func (e *handshakeNetError) Timeout() bool { return e.net.Timeout() }

// Temporary completes net.Error, as for netCommandError.
func (e *handshakeNetError) Temporary() bool { return temporary(e.net) }

// isHandshakeError reports an error of the handshake on its way to go-redis.
func isHandshakeError(err error) bool {
	switch err.(type) { //nolint:errorlint // asked before anybody can have wrapped it
	case *handshakeError, *handshakeNetError:
		return true
	}
	return false
}

func asHandshakeError(err error) error {
	if ne, ok := err.(net.Error); ok { //nolint:errorlint // built by commandError
		return &handshakeNetError{handshakeError{err}, ne}
	}
	return &handshakeError{err}
}
