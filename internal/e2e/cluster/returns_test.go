package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Clusters that are moved to although nobody has seen them well.

// TestDegradedClusterIsNotReturnedTo: most of its masters are back, which is enough for a failover and not for a return.
func TestDegradedClusterIsNotReturnedTo(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		a: []clustertest.Option{clustertest.Masters(3, 1), clustertest.NodeTimeout(20 * time.Second)},
		hook: func(o *multidb.Options) {
			o.Failback = multidb.Failback{GracePeriod: 500 * time.Millisecond, Jitter: -1}
			o.Health.Interval, o.Health.Takeover = 100*time.Millisecond, time.Minute
		},
	})
	p.a.Kill()
	redistest.Eventually(t, 10*time.Second, "B is used", func() bool { return p.hook.Active() == "B" })
	missing := p.a.Nodes[0]
	for _, n := range p.a.Nodes {
		if n != missing {
			require.NoError(t, n.Server.Restart())
		}
	}
	redistest.Eventually(t, 20*time.Second, "the masters that are back say that A is up", func() bool {
		for _, n := range p.a.Nodes[1:p.a.Masters] {
			if !strings.Contains(n.Client().ClusterInfo(t.Context()).Val(), "cluster_state:ok") {
				return false
			}
		}
		return true
	})
	l := start(8, incr(p.rdb))
	time.Sleep(1500 * time.Millisecond) // three grace periods
	require.Equal(t, "B", p.hook.Active())
	require.NoError(t, missing.Server.Restart())
	redistest.Eventually(t, 20*time.Second, "A is returned to", func() bool { return p.hook.Active() == "A" })
	l.end(t)
	require.Zero(t, l.unknown.Load()+l.failed.Load())
	redistest.Eventually(t, 10*time.Second, "both moves are told", func() bool { return len(p.moves()) >= 2 })
	require.Len(t, p.moves(), 2)
}

// TestClusterNeverSeenIsForced: an operator names a cluster that nothing is known of. Callers are told at once, go on as soon as
// it is there, and the other cluster is left alone meanwhile.
func TestClusterNeverSeenIsForced(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		b:      []clustertest.Option{clustertest.Nodes(redistest.Password("pb"))},
		before: func(p *pair) { p.b.Kill() },
		hook: func(o *multidb.Options) {
			o.Breaker.Delay, o.Health.Interval = 100*time.Millisecond, 100*time.Millisecond
		},
	})
	ctx := t.Context()
	require.NoError(t, p.rdb.Incr(ctx, "n:1").Err())
	require.Error(t, p.hook.SetActive(ctx, "B"), "it is not well")
	require.NoError(t, p.hook.ForceActive("B", 0))
	began := time.Now()
	err := p.rdb.Incr(ctx, "n:1").Err()
	t.Log(time.Since(began), err)
	if err == nil { // the evidence against B has moved the choice back
		require.Equal(t, "A", p.hook.Active())
	} else {
		var failed *multidb.CommandError
		require.True(t, errors.Is(err, multidb.ErrNoDatabase) || errors.As(err, &failed) && !failed.Sent, "%v", err)
	}
	confirmed, unknown := int64(1), int64(0) // of both keys, on whichever cluster
	count := func(err error) bool {
		var failed *multidb.CommandError
		switch {
		case err == nil:
			confirmed++
		case errors.As(err, &failed) && failed.Sent:
			unknown++
		}
		return err == nil
	}
	count(err)
	p.b.Restart()
	redistest.Eventually(t, 10*time.Second, "B is used", func() bool {
		return p.hook.ForceActive("B", 0) == nil && count(p.rdb.Incr(ctx, "n:2").Err()) && p.b.Sum("n:") > 0
	})
	require.Equal(t, "B", p.hook.Active())
	require.GreaterOrEqual(t, p.sum("n:"), confirmed)
	require.LessOrEqual(t, p.sum("n:"), confirmed+unknown)
	require.Zero(t, p.a.Denied()+p.b.Denied())
}
