package multidb

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// requireSentAndLost: the error says that the request was sent, and so must not be repeated.
func requireSentAndLost(t *testing.T, err error) {
	t.Helper()
	var failed *CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.False(t, SafeToRetry(err))
}

// Events: a pipeline holds a MULTI … EXEC as commands of its own. MULTI and what is queued are answered, then the connection
// dies with the reply to EXEC. In a transaction of TxPipeline answers like these come from EXEC, so the pipeline was taken
// for executed and reported as done.
func TestRegressionRawTransactionIsReportedAsDone(t *testing.T) {
	for name, spelled := range map[string][3]string{"lower": {"multi", "incr", "exec"}, "upper": {"MULTI", "INCR", "EXEC"}} {
		for lost, want := range map[string]int64{"EXEC": 1, "INCR": 0, "MULTI": 0} {
			t.Run(name+"/"+lost, func(t *testing.T) {
				p := newProxied(t, nil)
				ctx := t.Context()
				p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named(lost)))
				pipe := p.rdb.Pipeline()
				pipe.Do(ctx, spelled[0])
				pipe.Do(ctx, spelled[1], "n")
				exec := pipe.Do(ctx, spelled[2])
				_, err := pipe.Exec(ctx)
				requireSentAndLost(t, err)
				requireSentAndLost(t, exec.Err())
				// Where the connection dies before EXEC, that may have arrived all the same: it was one write.
				require.LessOrEqual(t, p.sum(t, "n"), max(want, 1), "one unit, that nobody runs again")
				require.GreaterOrEqual(t, p.sum(t, "n"), want)
			})
		}
	}
	t.Run("all of it again, as told", func(t *testing.T) {
		p := newProxied(t, nil)
		ctx := WithReplay(t.Context(), ReplayAll)
		p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("MULTI")))
		cmds, err := p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "multi")
			pipe.Do(ctx, "set", "n", 1)
			pipe.Do(ctx, "exec")
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, []any{"OK"}, cmds[2].(*redis.Cmd).Val())
	})
	t.Run("the rest of it is never run alone", func(t *testing.T) {
		p := newProxied(t, nil)
		ctx := WithReplay(t.Context(), ReplayAll)
		p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("EXEC")))
		_, err := p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "multi")
			pipe.Do(ctx, "incr", "n")
			pipe.Do(ctx, "exec")
			return nil
		})
		require.Error(t, err)
		require.EqualValues(t, 1, p.sum(t, "n"))
		require.EqualValues(t, 1, p.toEast.Count("EXEC")+p.toWest.Count("EXEC"))
	})
}

// Events: as above, with MULTI and EXEC made of the very types that TxPipeline uses; and a caller who looks at EXEC alone.
func TestRegressionRawTransactionOfTheTypesOfTxPipelineIsReportedAsDone(t *testing.T) {
	p := newProxied(t, nil)
	ctx := t.Context()
	p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("EXEC")))
	multi, exec := redis.NewStatusCmd(ctx, "multi"), redis.NewSliceCmd(ctx, "exec")
	pipe := p.rdb.Pipeline()
	require.NoError(t, pipe.Process(ctx, multi))
	pipe.Do(ctx, "incr", "n")
	require.NoError(t, pipe.Process(ctx, exec))
	_, err := pipe.Exec(ctx)
	requireSentAndLost(t, err)
	requireSentAndLost(t, exec.Err())
	require.EqualValues(t, 1, p.sum(t, "n"))
}
