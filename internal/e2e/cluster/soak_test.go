package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	tally "github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// soakSwitches is how often TestThousandPlannedSwitchesOfClusters switches, unless time is short.
const soakSwitches = 1000

// TestThousandPlannedSwitchesOfClusters: single commands, pipelines over nodes and transactions. Nothing fails, and the sums over
// both clusters are exact.
func TestThousandPlannedSwitchesOfClusters(t *testing.T) {
	t.Parallel()
	n, pause := soakSwitches, 30*time.Millisecond
	if testing.Short() {
		n = 60
	}
	p := newPair(t, setup{})
	l := start(12, func(ctx context.Context, l *load, g, i int) error {
		switch g % 3 {
		case 0:
			return incr(p.rdb)(ctx, l, g, i)
		case 1:
			pipe := p.rdb.Pipeline()
			for k := range 10 {
				pipe.Incr(ctx, key("n:", g, i*10+k))
			}
			return count(l, pipe)
		default:
			pipe := p.rdb.TxPipeline()
			for range 3 {
				pipe.Incr(ctx, key("n:", g, i))
			}
			return count(l, pipe)
		}
	})
	p.storm(t, n, pause)
	l.end(t)
	tally.Report(t, fmt.Sprintf("cluster: %d planned switches", n), "12 × INCR, pipelines and transactions over nodes",
		"longest "+time.Duration(l.longest.Load()).Round(time.Millisecond).String(),
		fmt.Sprintf("%d of %d, exact", l.unknown.Load()+l.failed.Load(), l.confirmed.Load()))
	p.exact(t, l)
	require.Len(t, p.moves(), n)
}

// TestPlannedSwitchesOfClustersWithLargeValues: of which a switch meets one half sent.
func TestPlannedSwitchesOfClustersWithLargeValues(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	value := strings.Repeat("x", 1<<20)
	l := start(6, func(ctx context.Context, l *load, g, i int) error {
		k := key("large:", g, i%10)
		if err := p.rdb.Set(ctx, k, value, time.Minute).Err(); err != nil {
			return err
		}
		got, err := p.rdb.Get(ctx, k).Result()
		if err == nil && len(got) != len(value) {
			t.Errorf("a value of %d bytes", len(got))
		}
		if err != nil && err != redis.Nil { // after a switch it is not there
			return err
		}
		return nil
	})
	p.storm(t, switches/2, 60*time.Millisecond)
	l.end(t)
	require.Zero(t, l.unknown.Load()+l.failed.Load())
}

// TestNodesAreRestartedOneByOne: for each master, a replica is promoted first and the node is restarted then, as in an upgrade.
// Nothing fails.
func TestNodesAreRestartedOneByOne(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{a: persist(), hook: func(o *multidb.Options) { o.MaxWait = 20 * time.Second }})
	l := start(8, incr(p.rdb))
	for i := range p.a.Masters {
		time.Sleep(200 * time.Millisecond)
		p.a.Failover(p.a.ReplicaOf(i))
		time.Sleep(300 * time.Millisecond)
		require.NoError(t, p.a.Nodes[i].Server.Restart())
		p.a.AwaitOK()
	}
	time.Sleep(300 * time.Millisecond)
	l.end(t)
	require.Empty(t, p.moves())
	p.exact(t, l)
}

// TestNothingMovesWhereItIsOnlyToldOfClusters: DryRun tells of the crash, and commands stay where they are.
func TestNothingMovesWhereItIsOnlyToldOfClusters(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{hook: func(o *multidb.Options) { o.DryRun = true }})
	require.NoError(t, p.rdb.Incr(t.Context(), "n:1").Err())
	p.a.Kill()
	redistest.Eventually(t, 10*time.Second, "a switch is told of", func() bool { return len(p.moves()) > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.Error(t, p.rdb.Incr(ctx, "n:1").Err())
	require.Zero(t, p.b.Sum("n:"))
}
