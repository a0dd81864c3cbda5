package txwrap

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestRegressionExecWithoutASuccessIsACommit: a transaction was applied twice if no command of it had succeeded.
//
// Events: EXEC is answered, its only command with nil or with an error, though it has written; the function goes on and
// loses the reply to a read.
func TestRegressionExecWithoutASuccessIsACommit(t *testing.T) {
	for name, write := range map[string]func(context.Context, redis.Pipeliner){
		"nil": func(ctx context.Context, pipe redis.Pipeliner) { pipe.Do(ctx, "set", "n", 1, "get") },
		"an error": func(ctx context.Context, pipe redis.Pipeliner) {
			pipe.Eval(ctx, "redis.call('incr', KEYS[1]); return redis.error_reply('LIMIT')", []string{"n"})
		},
		"an error like that of EXEC": func(ctx context.Context, pipe redis.Pipeliner) {
			pipe.Eval(ctx, "redis.call('incr', KEYS[1]); return redis.error_reply('EXECABORT mine')", []string{"n"})
		},
		"an error first": func(ctx context.Context, pipe redis.Pipeliner) {
			pipe.Do(ctx, "incr", "no-number")
			pipe.Incr(ctx, "n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			require.NoError(t, p.east.Client().Set(ctx, "no-number", "x", 0).Err())
			runs := 0
			err := Watch(ctx, p.rdb, func(tx *Tx) error {
				runs++
				_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
					write(ctx, pipe)
					return nil
				})
				require.Error(t, err)
				require.False(t, errors.Is(err, redis.TxFailedErr))
				if runs == 1 {
					p.drop.replyTo("get")
				}
				return tx.Get(ctx, "n").Err()
			}, "n")
			require.Error(t, err)
			require.Equal(t, 1, runs)
			require.Equal(t, "1", get(t, p.east, "n"))
		})
	}
}
