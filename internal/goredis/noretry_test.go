package goredis

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestBatchWithoutItsError: should go-redis ever leave the error of a batch that broke off on none of its commands, the
// hook puts it there, for a command without an error counts as done.
func TestBatchWithoutItsError(t *testing.T) {
	ctx := context.Background()
	lost := &NoRetryError{err: io.EOF}
	lost.mark.Store(markTail)
	var reply redis.Error
	require.False(t, lost.toGoRedisAs(&reply))
	require.False(t, lost.toGoRedisIs(errors.New(connUnusable)), "the question before the question")
	require.True(t, lost.toGoRedisAs(&reply), "once")
	require.False(t, lost.toGoRedisAs(&reply))
	require.False(t, IsReply(lost), "nobody else is told so")
	for name, cmds := range map[string][]redis.Cmder{
		"pipeline":    {redis.NewStatusCmd(ctx, "set", "k", "v"), redis.NewIntCmd(ctx, "incr", "n")},
		"transaction": {redis.NewStatusCmd(ctx, "multi"), redis.NewIntCmd(ctx, "incr", "n"), redis.NewSliceCmd(ctx, "exec")},
	} {
		StampUnanswered(cmds, lost)
		for _, cmd := range cmds {
			require.ErrorIs(t, cmd.Err(), lost, "%s: %s", name, cmd.Name())
		}
	}
}
