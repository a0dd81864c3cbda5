package runner

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
)

// noErrors are replies alone: no error of a failure is among them.
type noErrors struct{ failure.Errors }

func (noErrors) Find(error) *failure.Failure { return nil }

// WAIT is about the writes of its own connection. Run again on another one it would answer that all replicas have them.
func TestUnblockedWaitIsAnAnswer(t *testing.T) {
	err := goredis.Reply("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
	ctx := context.Background()
	require.Equal(t, cannotServe, judge{failures{noErrors{}}, nil}.classify(ctx, redis.NewCmd(ctx, "blpop", "k", 0), err))
	require.Equal(t, answered, judge{failures{noErrors{}}, nil}.classify(ctx, redis.NewCmd(ctx, "WAIT", 1, 0), err))
	err = goredis.Reply("UNBLOCKED client unblocked via CLIENT UNBLOCK") // somebody has asked for it
	require.Equal(t, answered, judge{failures{noErrors{}}, nil}.classify(ctx, redis.NewCmd(ctx, "blpop", "k", 0), err))
}

// The texts of proxies that the table does not know are the user's to say. A function that panics has no opinion.
func TestUserSaysWhatAReplyMeans(t *testing.T) {
	ctx := context.Background()
	get := redis.NewStringCmd(ctx, "get", "k")
	own := goredis.Reply("ERR backend is on holiday")
	for meaning, want := range map[Meaning]outcome{
		Answer: answered, Refused: cannotServe, RefusedHere: refusedHere, Doubtful: cannotServeInside, Meaning(99): answered,
	} {
		judge := judge{failures{noErrors{}}, func(error, Meaning) Meaning { return meaning }}
		require.Equal(t, want, judge.classify(ctx, get, own), "%v", meaning)
		require.Equal(t, answered, judge.classify(ctx, get, redis.Nil), "redis.Nil is no reply to be asked about")
	}
	panics := judge{failures{noErrors{}}, func(error, Meaning) Meaning { panic("x") }}
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
