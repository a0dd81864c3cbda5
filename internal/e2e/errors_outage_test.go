package e2e_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// Code that goes on without a database asks for a net.Error, or for ECONNREFUSED. While nothing is usable it finds both: in the error
// of the command that has met the outage, and of every later one.
func TestErrNoDatabaseHasTheCauseOfTheOutage(t *testing.T) {
	bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, dbs []*virtual.DB) {
		rdb := redis.NewClient(dbs[0].Options("a:6379"))
		defer rdb.Close()
		rdb.AddHook(h)
		ctx := context.Background()
		require.NoError(t, rdb.Set(ctx, "k", 1, 0).Err())
		for _, db := range dbs {
			db.Up.Store(false)
		}
		until(10*time.Second, func() bool { _ = rdb.Set(ctx, "k", 1, 0).Err(); return h.Stats().Down })
		for range 3 {
			_, batch := rdb.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "n"); return nil })
			for name, err := range map[string]error{"INCR": rdb.Incr(ctx, "n").Err(), "a batch": batch} {
				require.ErrorIs(t, err, multidb.ErrNoDatabase, name)
				require.ErrorIs(t, err, virtual.ErrUnreachable.Err, name)
				_, isNet := err.(net.Error)
				require.True(t, isNet, "%s: %T", name, err)
				var op *net.OpError
				require.True(t, errors.As(err, &op), name)
				require.True(t, multidb.SafeToRetry(err), name)
			}
			time.Sleep(time.Minute)
		}
	})
}
