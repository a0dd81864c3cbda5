package multidb

import "context"

// Attempt is what a hook inside of ours may know of the attempt that it is called for: a command that failed is run again
// through the hooks that were added after ours. A tracing hook needs it.
type Attempt struct {
	// Number counts the attempts at this command, or batch, from 1.
	Number int
	// Failed is the error of the attempt before this one; nil for the first attempt.
	Failed error
	// FailedOn is the name of the database on which that attempt failed; empty for the first attempt.
	FailedOn string
	// Replayed is true if the attempt before this one was sent and not answered. If it is false, nothing was executed.
	Replayed bool
}

type attemptKey struct{}

// AttemptOf returns the attempt that a context belongs to. A context that does not come from the hook belongs to a first
// attempt. It does not allocate. Safe for concurrent use.
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
