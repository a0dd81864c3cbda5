package testkit

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Aside is a hook of a user's that runs the next one in a goroutine of its own, as hooks with a time limit do.
type Aside struct{}

// DialHook changes nothing.
func (Aside) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook waits for the goroutine.
func (Aside) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		done := make(chan error, 1)
		go func() { done <- next(ctx, cmd) }()
		return <-done
	}
}

// ProcessPipelineHook waits for the goroutine.
func (Aside) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		done := make(chan error, 1)
		go func() { done <- next(ctx, cmds) }()
		return <-done
	}
}
