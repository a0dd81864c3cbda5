package goredis

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A pipeline whose first command was answered must not be run again as a whole.
//
// 1. The first command of a pipeline is answered LOADING, TRYAGAIN or READONLY. 2. INCR behind it is executed and answered.
// 3. go-redis asks whether the first command's error is one to retry, and sends the whole pipeline again: INCR runs twice.

// firstCommand is the first command of a pipeline on its way through go-redis.
type firstCommand struct {
	redis.Cmder
	answered bool // an error reply was read for it. go-redis runs a pipeline in one goroutine.
}

// SetErr sees what go-redis has read.
func (c *firstCommand) SetErr(err error) {
	c.answered = c.answered || err != redis.Nil && IsReply(err) //nolint:errorlint // never wrapped where it is read
	c.Cmder.SetErr(err)
}

// NoRetry forbids go-redis a second run of what was answered.
func (c *firstCommand) NoRetry() bool { return c.answered || c.Cmder.NoRetry() }

// Once makes go-redis run a batch again by itself while it is not answered, and not after that. In a dry run go-redis does as
// without the hook.
func Once(next redis.ProcessPipelineHook, dryRun bool) redis.ProcessPipelineHook {
	if dryRun {
		return next
	}
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) < 2 || IsTxPipeline(cmds) || IsHandshakeBatch(cmds) || cmds[0].Name() == "himport" { // known by its type
			return next(ctx, cmds)
		}
		first := cmds[0]
		cmds[0] = &firstCommand{Cmder: first}
		defer func() { cmds[0] = first }()
		return next(ctx, cmds)
	}
}
