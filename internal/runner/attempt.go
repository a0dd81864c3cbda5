package runner

import "context"

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
