package multidb

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
)

// WAIT is about the writes of its own connection. Run again on another one it would answer that all replicas have them.
func TestUnblockedWaitIsAnAnswer(t *testing.T) {
	err := goredis.Reply("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
	ctx := context.Background()
	require.Equal(t, cannotServe, replyJudge(nil).classify(ctx, redis.NewCmd(ctx, "blpop", "k", 0), err))
	require.Equal(t, answered, replyJudge(nil).classify(ctx, redis.NewCmd(ctx, "WAIT", 1, 0), err))
	err = goredis.Reply("UNBLOCKED client unblocked via CLIENT UNBLOCK") // somebody has asked for it
	require.Equal(t, answered, replyJudge(nil).classify(ctx, redis.NewCmd(ctx, "blpop", "k", 0), err))
}

// The texts of proxies that the table does not know are the user's to say. A function that panics has no opinion.
func TestUserSaysWhatAReplyMeans(t *testing.T) {
	ctx := context.Background()
	get := redis.NewStringCmd(ctx, "get", "k")
	own := goredis.Reply("ERR backend is on holiday")
	for meaning, want := range map[ReplyMeaning]outcome{
		ReplyAnswer: answered, ReplyRefused: cannotServe, ReplyRefusedHere: refusedHere, ReplyDoubtful: cannotServeInside, ReplyMeaning(99): answered,
	} {
		judge := replyJudge(func(error, ReplyMeaning) ReplyMeaning { return meaning })
		require.Equal(t, want, judge.classify(ctx, get, own), "%v", meaning)
		require.Equal(t, answered, judge.classify(ctx, get, redis.Nil), "redis.Nil is no reply to be asked about")
	}
	panics := replyJudge(func(error, ReplyMeaning) ReplyMeaning { panic("x") })
	require.Equal(t, answered, panics.classify(ctx, get, own))
	require.Equal(t, cannotServe, panics.classify(ctx, get, goredis.Reply("LOADING Redis is loading the dataset in memory")))
}

// Events: a pipeline of a command that succeeds and one that is answered with redis.Nil. The error of the batch belongs to the
// second.
func TestErrorOfABatchBelongsToACommand(t *testing.T) {
	ctx := context.Background()
	good, bad := redis.NewStatusCmd(ctx, "set", "k", 1), redis.NewStringCmd(ctx, "get", "missing")
	bad.SetErr(redis.Nil)
	require.Equal(t, redis.Cmder(bad), commandOf([]redis.Cmder{good, bad}, redis.Nil))
}
