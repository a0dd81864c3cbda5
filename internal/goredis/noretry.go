package goredis

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

// The errors that a connection gives to go-redis, so that go-redis does with them what is right and no more.

// NoRetryError carries the error of a request past go-redis' own retry loop. That loop sends the request again, whatever the
// request is and whether or not it was sent before (MaxRetries is 3 by default), if it sees an EOF or a net error in the chain.
// So this type answers by who asks: go-redis sees nothing behind it, everybody else sees the error and its cause. The hook
// takes the inner error out before a caller sees it. A client without our process hook (a WithTimeout clone) hands this type
// to its caller, who gets the same answers of errors.Is and errors.As as from the inner error.
type NoRetryError struct {
	err  error
	mark atomic.Int32 // whether go-redis is about to put this error on answered commands as well, see Is
}

func (e *NoRetryError) Error() string { return e.err.Error() }

// The states of NoRetryError.mark.
const (
	markAll          = iota // not a failed read: let go-redis put it on every command of its batch
	markTail                // a failed read: the commands without an answer have it already
	markAskedToRetry        // and go-redis has asked whether to run the request again
	markAsked               // go-redis asks whether to put it on the others
	markAvoided             // and was told not to
	markSettled             // the end of one request of full duplex, which go-redis may take for its reply: see Settled
)

// Is never holds for go-redis; it watches what it is asked. When a pipeline breaks off in the middle, the sequence is:
//
//  1. pipelineReadCmds puts the error on the commands that have no answer, which is right.
//  2. shouldRetry calls errors.Is(err, io.EOF): answered with no.
//  3. pipelineErrShouldStamp (errors.Is(err, errConnUnusable) || !isRedisError(err)) calls Is(errConnUnusable): no again,
//     but the next question is known by it.
//  4. isRedisError calls errors.As(err, *redis.Error): answered with yes, once. An error that is a reply is not put on the
//     other commands, so that the answered commands keep their answers.
//
// Step 4 is right only for the batch whose read failed. A session that has died with this error has it for every later
// request as well, none of which was sent, and there it belongs on all commands. go-redis asks step 2 once for each request:
// from the second time on it is one of those.
//
// This hangs on the wording of one line of go-redis. If that changes, either the error is on all commands again and a test
// fails, or it is on none and the hook puts it there.
func (e *NoRetryError) Is(target error) bool {
	if !askedByGoRedis() {
		return errors.Is(e.err, target)
	}
	return e.toGoRedisIs(target)
}

func (e *NoRetryError) toGoRedisIs(target error) bool {
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

// As finds what is behind; errors.As calls it. For go-redis there is nothing, but for the answer that Is is about.
func (e *NoRetryError) As(target any) bool {
	if !askedByGoRedis() {
		return errors.As(e.err, target)
	}
	return e.toGoRedisAs(target)
}

func (e *NoRetryError) toGoRedisAs(target any) bool {
	t, ok := target.(*redis.Error)
	if ok && (e.mark.CompareAndSwap(markAsked, markAvoided) || e.mark.Load() == markSettled && has(replyIsFatal)) {
		*t = noReply{e}
		return true
	}
	return false
}

// noRetryNetError is NoRetryError around a net.Error, and one itself, because callers write err.(net.Error).Timeout(): an assertion that
// nothing but a method can serve. go-redis finds the method as well and would run the request again for it. But it asks
// first, for the sake of context.DeadlineExceeded, which has that method too, whether a context has ended, and lets alone
// what says yes. Should the order of its questions ever change, this type is not used: see SelfTest.
type noRetryNetError struct {
	*NoRetryError
	net net.Error
}

func (e *noRetryNetError) Timeout() bool { return e.net.Timeout() }

// Temporary completes net.Error, as for netCommandError.
func (e *noRetryNetError) Temporary() bool { return Temporary(e.net) }

// Is is NoRetryError.Is, and tells go-redis not to run the request again.
func (e *noRetryNetError) Is(target error) bool {
	return e.NoRetryError.Is(target) || target == context.Canceled && askedByGoRedis() // that very question
}

// As is NoRetryError.As, and finds the NoRetryError.
func (e *noRetryNetError) As(target any) bool {
	if t, ok := target.(**NoRetryError); ok {
		*t = e.NoRetryError
		return true
	}
	return e.NoRetryError.As(target)
}

// NoRetry hides an error from go-redis, so that go-redis does not run the request again. If err is a net.Error itself, so is
// the result.
func NoRetry(err error) error {
	if ne, ok := err.(net.Error); ok && leavesAlone().noRetryNet { //nolint:errorlint // built as one by the caller
		return newNoRetryNetError(err, ne)
	}
	return &NoRetryError{err: err}
}

// Find returns the NoRetryError in the chain of err, or nil. Not for go-redis' own code.
func Find(err error) *NoRetryError {
	var found *NoRetryError
	_ = errors.As(err, &found)
	return found
}

// OfRead notes that err, if NoRetry made it, is of a read that failed, and returns err. go-redis puts such an error on the
// commands without an answer by itself.
func OfRead(err error) error {
	if e := asNoRetry(err); e != nil {
		e.mark.Store(markTail)
	}
	return err
}

// Settled makes err, if NoRetry made it, the end of one request of full duplex and of no other. Full duplex asks of each error that a
// read returns whether it is a reply. An error that is none becomes that of everything that it holds. This one is called a reply.
func Settled(err error) error {
	if e := asNoRetry(err); e != nil {
		e.mark.Store(markSettled)
	}
	return err
}

// asNoRetry returns the error that NoRetry made, of whichever type, or nil if it is none.
func asNoRetry(err error) *NoRetryError {
	switch e := err.(type) { //nolint:errorlint // what is in the chain of another error is that one's
	case *NoRetryError:
		return e
	case *noRetryNetError:
		return e.NoRetryError
	}
	return nil
}

func newNoRetryNetError(err error, ne net.Error) *noRetryNetError {
	return &noRetryNetError{&NoRetryError{err: err}, ne}
}

var (
	goRedisPackage = reflect.TypeFor[redis.Options]().PkgPath()
	ownMethods     = [...]string{methodsOf[NoRetryError](), methodsOf[noRetryNetError]()}
)

// methodsOf is the beginning of the names that the methods of a type have on the stack.
func methodsOf[T any]() string {
	t := reflect.TypeFor[T]()
	return t.PkgPath() + ".(*" + t.Name() + ")."
}

// askedByGoRedis reports whether the question that a method of NoRetryError is asked comes out of go-redis: by the function that
// has called errors.Is or errors.As. It walks the stack, for a failure only.
func askedByGoRedis() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])]) // from the method on
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasPrefix(frame.Function, "errors.") || isOwn(frame.Function) {
			continue
		}
		rest, found := strings.CutPrefix(frame.Function, goRedisPackage)
		return found && rest != "" && (rest[0] == '.' || rest[0] == '/')
	}
	return true // nobody to be seen: the safe answer
}

func isOwn(function string) bool {
	for _, methods := range ownMethods {
		if strings.HasPrefix(function, methods) {
			return true
		}
	}
	return false
}

// noReply is what As shows of an error that is no reply, when go-redis asks for one. Nobody keeps it.
type noReply struct{ error }

func (noReply) RedisError() {}

// Cause makes the cause of an error of NoRetry visible again, and keeps what other hooks may have wrapped around it.
func Cause(err error) error {
	err, _ = Uncover(err)
	return err
}

// Uncover is reveal, and says whether that changed anything: errors may be of types that cannot be compared.
func Uncover(err error) (revealedErr error, changed bool) {
	if e := asNoRetry(err); e != nil {
		return e.err, true
	}
	switch e := err.(type) { //nolint:errorlint // the common cases: not wrapped by others
	case nil:
		return nil, false
	case *handshakeError:
		return Cause(e.err), true
	case *handshakeNetError:
		return Cause(e.err), true
	case *unsentError:
		return Cause(e.cause()), true
	case *unsentNetError:
		return Cause(e.cause()), true
	}
	var lost *NoRetryError
	if !errors.As(err, &lost) {
		return err, false
	}
	return &uncovered{outer: err, inner: lost.err}, true
}

// uncovered is an error of another layer (a hook, go-redis' sticky pool) around one of NoRetry: the text and the types of
// the layers, and behind them the cause.
type uncovered struct{ outer, inner error }

func (e *uncovered) Error() string   { return e.outer.Error() }
func (e *uncovered) Unwrap() []error { return []error{e.outer, e.inner} }
