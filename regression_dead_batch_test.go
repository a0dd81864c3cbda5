package multidb

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// Events: on a session of a WithTimeout clone the answer to a command is lost, and with it the connection; a pipeline or a
// transaction follows. Exec returned an error and left none on its commands, of which nothing was sent: the question by which
// a batch that breaks off keeps its answers was answered for the error of that earlier command.
func TestRegressionBatchOnADeadSessionOfACloneLooksDone(t *testing.T) {
	p := newProxied(t, func(o *Options, r *redis.Options) { o.Health.StallTimeout = time.Minute })
	ctx := t.Context()
	set := func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, "a", 1, 0)
		pipe.Incr(ctx, "b")
		return nil
	}
	for name, client := range map[string]*redis.Client{"clone": p.rdb.WithTimeout(time.Second), "client": p.rdb} {
		for _, before := range []int{1, 3} {
			conn := client.Conn()
			require.NoError(t, conn.Ping(ctx).Err())
			p.dropReplies(faultproxy.Named("GETSET"))
			for range before {
				require.Error(t, conn.GetSet(ctx, "k", 1).Err())
			}
			cmds, err := conn.Pipelined(ctx, set)
			require.Error(t, err)
			for _, cmd := range cmds {
				require.Error(t, cmd.Err(), "%s: %v was not executed", name, cmd)
			}
			cmds, err = conn.TxPipelined(ctx, set)
			require.Error(t, err)
			for _, cmd := range cmds {
				require.Error(t, cmd.Err(), "%s: %v was not executed", name, cmd)
			}
			p.dropReplies(nil)
			require.NoError(t, conn.Close())
		}
	}
	require.Zero(t, p.east.Client().Exists(ctx, "a", "b").Val()+p.west.Client().Exists(ctx, "a", "b").Val())
}

func (p *proxied) dropReplies(lost func(args []string) bool) {
	p.toEast.DropReplies(lost)
	p.toWest.DropReplies(lost)
}
