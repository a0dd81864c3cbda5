package multidb

import (
	"context"

	"github.com/redishook/multidb/internal/runner"
)

// Attempt is what a hook inside of ours may know of the attempt that it is called for. A command that failed is
// run again through the hooks that were added after ours. A tracing hook needs it.
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

// AttemptOf returns the attempt that a context belongs to. A context that does not come from the hook belongs to a first
// attempt. It does not allocate. Safe for concurrent use.
func AttemptOf(ctx context.Context) Attempt { return Attempt(runner.AttemptOf(ctx)) }
