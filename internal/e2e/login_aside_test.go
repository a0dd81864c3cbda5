package e2e_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// aside is a hook of a user's that runs the next one in a goroutine of its own, as hooks with a time limit do.
type aside struct{}

func (aside) DialHook(next redis.DialHook) redis.DialHook { return next }
func (aside) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		done := make(chan error, 1)
		go func() { done <- next(ctx, cmd) }()
		return <-done
	}
}
func (aside) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		done := make(chan error, 1)
		go func() { done <- next(ctx, cmds) }()
		return <-done
	}
}

// Events: 1. The client names index 1 and the databases index 2. 2. The client's SELECT passes a hook that runs the next one in
// another goroutine, so that the stack does not show the handshake. 3. It was taken for a user's own, and everything that the
// client wrote went to index 1.
func TestTheIndexIsTheDatabasesBehindAHookThatRunsAside(t *testing.T) {
	for _, order := range []string{"before", "after"} {
		p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
			for i := range o.Databases {
				o.Databases[i].Options.DB = 2
			}
			r.DB = 1
		})
		rdb := redis.NewClient(p.RDB.Options())
		t.Cleanup(func() { _ = rdb.Close() })
		if order == "before" {
			rdb.AddHook(aside{})
		}
		rdb.AddHook(p.Hook)
		if order == "after" {
			rdb.AddHook(aside{})
		}
		require.NoError(t, rdb.Set(t.Context(), "k", order, 0).Err())
		require.Equal(t, order, valueAt(t, p.East, 2, "k"))
		require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
		require.NoError(t, rdb.Set(t.Context(), "k", order, 0).Err())
		require.Equal(t, order, valueAt(t, p.West, 2, "k"))
	}
}
