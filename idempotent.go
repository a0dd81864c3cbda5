package multidb

import "context"

// Idempotent returns a context that says: whatever is run with it may be run twice. A command that was sent and
// not answered (INCR, LPUSH, a script) is then run again on the next database. Its caller gets no error. It is the
// readable name of WithReplay(ctx, ReplayAccumulating), with the same limits: transactions, PUBLISH and blocking
// pops are not covered.
//
//	// The script sets absolute values, so a second run changes nothing.
//	err := script.Run(multidb.Idempotent(ctx), rdb, keys, args...).Err()
func Idempotent(ctx context.Context) context.Context { return WithReplay(ctx, ReplayAccumulating) }
