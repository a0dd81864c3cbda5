// Package runner runs commands: it passes each on, and decides after a failure whether the command runs again, where and when. What
// it may do is said by the replay rungs, by what a reply means, and by the choice of a database, which it reads and never makes.
package runner

import (
	"context"
	"reflect"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/selector"
)

// New makes a runner.
func New(cfg Config) *Runner {
	return &Runner{
		cfg: cfg, choice: cfg.Choice, errors: failures{cfg.Errors}, replies: judge{failures{cfg.Errors}, cfg.Replies},
		retry: newRetry(cfg.MaxAttempts, cfg.MinBackoff, cfg.MaxBackoff),
	}
}

// Hook is the process hook of a client. A command that succeeds pays for one atomic load, the look at its name, and a counter.
func (r *Runner) Hook(next redis.ProcessHook) redis.ProcessHook {
	if r.isProcessHook(next) {
		return next // added twice
	}
	process := func(ctx context.Context, cmd redis.Cmder) error {
		if ordinary(cmd.Args()) {
			return r.processOne(ctx, cmd, next)
		}
		if goredis.IsHandshake(cmd) {
			return r.Handshake(ctx, cmd, next)
		}
		if replay.MayWait(cmd) {
			return r.cfg.Waiting.Process(ctx, cmd, next, r.processOne)
		}
		return r.processOne(ctx, cmd, next)
	}
	processHookCode.Store(reflect.ValueOf(process).Pointer())
	return process
}

// processOne is what Hook does with a command that is none of the handshake.
func (r *Runner) processOne(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
	now := r.choice.Current()
	if now.Down {
		return r.Later(ctx, cmd, next, now)
	}
	err := next(ctx, cmd)
	if err == nil {
		now.DB.Traffic.Succeeded()
		return nil
	}
	return r.AfterFailure(ctx, cmd, next, now, err)
}

// Later is Hook while nothing is usable.
func (r *Runner) Later(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook, now *selector.Epoch) error {
	if r.cfg.Routing() && !goredis.OnlyLooksOn() { // full duplex runs the command whatever is said here
		var err error
		if now, err = r.awaitDatabase(ctx, now, nil); err != nil {
			cmd.SetErr(err)
			return err
		}
	}
	if err := next(ctx, cmd); err != nil {
		return r.AfterFailure(ctx, cmd, next, now, err)
	}
	now.DB.Traffic.Succeeded()
	return nil
}

// PipelineHook is Hook for pipelines and transactions.
func (r *Runner) PipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	if r.isPipelineHook(next) {
		return next // added twice
	}
	next = goredis.Once(next, r.cfg.DryRun)
	process := func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || goredis.IsHandshakeBatch(cmds) {
			return r.HandshakeBatch(ctx, cmds, next)
		}
		if replay.MayWait(cmds[len(cmds)-1]) {
			return r.cfg.Waiting.ProcessBatch(ctx, cmds, next, r.processBatch, r.errors.finishBatch)
		}
		return r.processBatch(ctx, cmds, next)
	}
	pipelineHookCode.Store(reflect.ValueOf(process).Pointer())
	return process
}

// processBatch is what PipelineHook does with commands that are not those of the handshake.
func (r *Runner) processBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
	now, err := r.Awaited(ctx, cmds)
	if err != nil {
		return err
	}
	err = next(ctx, cmds)
	if err == nil {
		now.DB.Traffic.Succeeded()
		return nil
	}
	return r.AfterBatchFailure(ctx, cmds, next, now, err)
}

// Awaited returns the choice that a batch runs under: while nothing is usable, it waits as long as Config.MaxWait says. Its error
// is on the commands.
func (r *Runner) Awaited(ctx context.Context, cmds []redis.Cmder) (*selector.Epoch, error) {
	now := r.choice.Current()
	if now.Down && r.cfg.Routing() {
		var err error
		if now, err = r.awaitDatabase(ctx, now, nil); err != nil {
			goredis.SetErrors(cmds, err)
			return nil, err
		}
	}
	return now, nil
}
