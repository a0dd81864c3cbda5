// Package blocked moves commands that wait for something to come: BLPOP and its family, XREAD and XREADGROUP with BLOCK. What they
// wait for will come to another database from a switch on. CLIENT UNBLOCK ends the wait as if its time were over, so its outcome
// is known:
//
//   - the reply is nil: nothing was taken, and the command is run again with what is left of its time;
//   - the reply is an element: it was taken before, and its caller gets it.
package blocked

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
)

// Commands are the commands that wait, of one hook. Safe for concurrent use. The zero value is ready.
type Commands struct {
	// Whether a nil may be our own doing: what is being unblocked, and how often that has been over.
	unblocking atomic.Int64
	unblocked  atomic.Uint64
}

// Here reports, on the call stack of a request, whether it has come through Process or ProcessBatch of any Commands and so is run
// again if it is unblocked. WithTimeout clones have no process hook.
func Here() bool { return through.Here() }

var through = goredis.NewPasses(goredis.NameOf((*Commands).Process), goredis.NameOf((*Commands).ProcessBatch))

// waiter is a command that waits, on its way. It belongs to one call.
type waiter struct {
	*Commands
	wait    replay.Wait
	began   time.Time
	before  uint64 // how often we had unblocked when the attempt began
	again   bool
	restore func()
}

func (c *Commands) waiter(wait replay.Wait) *waiter {
	return &waiter{Commands: c, wait: wait, began: time.Now(), restore: func() {}}
}

// Process runs a command that may wait. run is one run of it over next, with all that a command is due.
func (c *Commands) Process(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook,
	run func(context.Context, redis.Cmder, redis.ProcessHook) error,
) error {
	wait, waits := replay.WaitOf(cmd)
	if !waits {
		return run(ctx, cmd, next)
	}
	w := c.waiter(wait)
	defer func() { w.restore() }()
	attempt := func(ctx context.Context, cmd redis.Cmder) error {
		if !w.shorten(cmd) {
			cmd.SetErr(redis.Nil)
			return redis.Nil
		}
		return next(ctx, cmd)
	}
	err := run(ctx, cmd, attempt)
	for w.ended(ctx, err) {
		cmd.SetErr(nil)
		err = run(ctx, cmd, attempt)
	}
	return err
}

// ProcessBatch is Process for commands the last of which may wait. finish makes the error of them all out of that of the last run.
// A command that others follow in the same batch is not unblocked.
func (c *Commands) ProcessBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook,
	run func(context.Context, []redis.Cmder, redis.ProcessPipelineHook) error, finish func([]redis.Cmder, error) error,
) error {
	last := cmds[len(cmds)-1:]
	wait, waits := replay.WaitOf(last[0])
	if !waits {
		return run(ctx, cmds, next)
	}
	w := c.waiter(wait)
	defer func() { w.restore() }()
	attempt := func(ctx context.Context, cmds []redis.Cmder) error {
		if !w.shorten(last[0]) && len(cmds) == 1 {
			last[0].SetErr(redis.Nil)
			return redis.Nil
		}
		return next(ctx, cmds)
	}
	err := run(ctx, cmds, attempt)
	for w.ended(ctx, last[0].Err()) {
		last[0].SetErr(nil)
		err = finish(cmds, run(ctx, last, attempt))
	}
	return err
}

// shorten gives the next attempt what is left of the time. It reports false if that is nothing.
func (w *waiter) shorten(cmd redis.Cmder) bool {
	w.before = w.unblocked.Load()
	if !w.again {
		w.again = true
		return true
	}
	left, ok := w.wait.Left(time.Since(w.began))
	if ok {
		w.restore()
		w.restore = w.wait.Shorten(cmd, left)
	}
	return ok
}

// ended reports whether the wait has ended without a result before its time while we were unblocking. Nobody knows whom that was
// for: a wait that somebody else has ended at the same moment is run again as well.
func (w *waiter) ended(ctx context.Context, err error) bool {
	if !errors.Is(err, redis.Nil) || ctx.Err() != nil {
		return false
	}
	if _, left := w.wait.Left(time.Since(w.began)); !left || w.unblocked.Load() == w.before && w.unblocking.Load() == 0 {
		return false
	}
	return !goredis.OnlyLooksOn()
}
