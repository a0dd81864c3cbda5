package runner

import (
	"context"
	"errors"
	"net"

	"github.com/redishook/multidb/internal/database"
)

// Attempt is what a hook inside of ours may know of the attempt that it is called for.
type Attempt struct {
	Number   int    // from 1
	Failed   error  // of the attempt before this one; nil for the first attempt
	FailedOn string // the name of the database on which that attempt failed
	Replayed bool   // the attempt before this one was sent and not answered
}

type attemptKey struct{}

// AttemptOf returns the attempt that a context belongs to. A context that comes from no runner belongs to a first attempt.
func AttemptOf(ctx context.Context) Attempt {
	if a, ok := ctx.Value(attemptKey{}).(*Attempt); ok {
		return *a
	}
	return Attempt{Number: 1}
}

// withAttempt returns the context of the attempt that follows failed.
func withAttempt(ctx context.Context, number int, failed *attempt) context.Context {
	next := &Attempt{Number: number, Failed: failed.err, Replayed: failed.kind == lost || failed.kind == cannotServeInside}
	if failed.db != nil {
		next.FailedOn = failed.db.Name
	}
	return context.WithValue(ctx, attemptKey{}, next)
}

// errMoved tells the retry policy that the failed attempt ran on a database that has lost its place: no backoff.
var errMoved = errors.New("moved")

// attempt is the failure of one attempt on its way through failsafe-go.
type attempt struct {
	err   error
	kind  outcome
	db    *database.Database // where it failed
	final bool               // not to be run again
	moved bool               // there is another choice since
	waits bool               // it had to wait for something to come, however long that takes
}

func (a *attempt) Error() string {
	if a.err == nil {
		return "answered" // a transaction whose only error was a stale one
	}
	return a.err.Error()
}

func (a *attempt) Is(target error) bool { return a.moved && target == errMoved }

// hangs is 1 if the work was in flight on a database that was left for its silence. One that is so twice is more likely the
// reason (a script that reads for seconds) than a victim, and would take down one database after the other.
func (a *attempt) hangs() int {
	if a.kind == lost && a.moved && !a.waits && errors.Is(a.err, net.ErrClosed) {
		return 1
	}
	return 0
}

// resumes reports that all attempts are used up by switches that came while the work waited, which may be as many as there are.
func (a *attempt) resumes(ctx context.Context) bool {
	return a.waits && a.kind == lost && a.moved && !a.final && ctx.Err() == nil
}
