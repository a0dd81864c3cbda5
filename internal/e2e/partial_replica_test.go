package e2e_test

import (
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events:
//  1. West becomes the master and east its replica. East refuses writes and is left.
//  2. East is healthy as a replica. It is not returned to, whatever its grace period says, and not by SetActive.
//  3. West dies. A replica is better than nothing.
//  4. East becomes a master again, and west one of its own: now it is a place to be.
func TestAReplicaIsTheLastChoice(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		o.Failback = multidb.Failback{GracePeriod: 100 * time.Millisecond, MaxGracePeriod: 100 * time.Millisecond}
		o.Health.Interval = 200 * time.Millisecond
		o.Breaker.Delay = 100 * time.Millisecond
	})
	ctx := t.Context()
	l := load.Start(4, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 50 })
	host, port, err := net.SplitHostPort(p.West.Addr())
	require.NoError(t, err)
	require.NoError(t, p.East.Client().ReplicaOf(ctx, host, port).Err())
	redistest.Eventually(t, 10*time.Second, "a failover", func() bool { return p.Hook.Active() == "west" })
	redistest.Eventually(t, 10*time.Second, "east to be usable again", p.Usable)
	require.Error(t, p.Hook.SetActive(ctx, "east"))
	time.Sleep(1500 * time.Millisecond) // several grace periods, and several checks
	require.Equal(t, "west", p.Hook.Active())
	require.Len(t, p.Switched(), 1)

	require.NoError(t, p.East.Client().ReplicaOf(ctx, "NO", "ONE").Err())
	redistest.Eventually(t, 10*time.Second, "a return", func() bool { return p.Hook.Active() == "east" })
	require.Len(t, p.Switched(), 2)
	l.End()
	require.Empty(t, l.Errs)

	host, port, err = net.SplitHostPort(p.East.Addr())
	require.NoError(t, err)
	require.NoError(t, p.West.Client().ReplicaOf(ctx, host, port).Err())
	redistest.Eventually(t, 10*time.Second, "west to be known as a replica", func() bool {
		return p.Hook.Stats().Databases[1].GateError != nil
	})
	p.East.Kill()
	redistest.Eventually(t, 10*time.Second, "the last choice", func() bool { return p.Hook.Active() == "west" && !p.Hook.Stats().Down })
}
