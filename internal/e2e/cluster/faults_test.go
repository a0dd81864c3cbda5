package cluster_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// persist keeps what a cluster has confirmed over a crash, so that it can be counted.
func persist() []clustertest.Option {
	return []clustertest.Option{clustertest.Nodes(redistest.Persist())}
}

// TestCrashOfAWholeCluster: the other one is used, nothing idempotent fails, and an INCR whose fate nobody knows is told.
func TestCrashOfAWholeCluster(t *testing.T) {
	t.Parallel()
	loseWhole(t, setup{a: persist()}, "SIGKILL of all nodes",
		func(a *clustertest.Cluster) { a.Kill() }, func(a *clustertest.Cluster) { a.Revive() })
}

// TestHangOfAWholeCluster: as a crash, only that what hangs goes on later and must not be counted twice.
func TestHangOfAWholeCluster(t *testing.T) {
	t.Parallel()
	loseWhole(t, setup{prompt: true}, "SIGSTOP of all nodes",
		func(a *clustertest.Cluster) { a.Stop() }, func(a *clustertest.Cluster) { a.Cont(); a.AwaitOK() })
}

// loseWhole strikes all of A under load, and looks at what has become of that once A is back.
func loseWhole(t *testing.T, s setup, what string, strike, restore func(*clustertest.Cluster)) {
	for _, workers := range []int{1, 16, 100} {
		t.Run(strconv.Itoa(workers), func(t *testing.T) {
			p := newPair(t, s)
			reads := start(workers, setGet(p.rdb))
			counts := start(max(1, workers/4), incr(p.rdb))
			time.Sleep(500 * time.Millisecond)
			struck := time.Now()
			strike(p.a)
			took := reads.recovered(t, struck, 10*time.Second)
			time.Sleep(300 * time.Millisecond)
			reads.end(t)
			counts.end(t)
			t.Logf("the last of %d goroutines went on after %v", workers, took)
			report(t, what, reads, counts)
			require.Equal(t, "B", p.hook.Active())
			require.Zero(t, reads.unknown.Load()+reads.failed.Load())
			require.Zero(t, counts.failed.Load())
			restore(p.a)
			sum := p.sum("n:")
			require.GreaterOrEqual(t, sum, counts.confirmed.Load())
			require.LessOrEqual(t, sum, counts.confirmed.Load()+counts.unknown.Load())
		})
	}
}

// TestLossOfTheQuorum: two of three masters die, so nobody can be promoted any more, and the cluster is left at once.
func TestLossOfTheQuorum(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	l := start(16, setGet(p.rdb))
	time.Sleep(300 * time.Millisecond)
	struck := time.Now()
	require.NoError(t, p.a.Nodes[0].Kill())
	require.NoError(t, p.a.Nodes[1].Kill())
	t.Log("went on after", l.recovered(t, struck, 10*time.Second))
	time.Sleep(200 * time.Millisecond)
	l.end(t)
	report(t, "SIGKILL of two of three masters", l, nil)
	require.Equal(t, "B", p.hook.Active())
	require.Zero(t, l.unknown.Load()+l.failed.Load())
}

// TestMasterAndItsReplicaDie: nobody can take over, so it is not waited for.
func TestMasterAndItsReplicaDie(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{hook: func(o *multidb.Options) { o.MaxWait = 10 * time.Second }})
	l := start(16, setGet(p.rdb))
	time.Sleep(300 * time.Millisecond)
	struck := time.Now()
	require.NoError(t, p.a.Nodes[0].Kill())
	require.NoError(t, p.a.ReplicaOf(0).Kill())
	redistest.Eventually(t, 5*time.Second, "the cluster is left", func() bool { return p.hook.Active() == "B" })
	t.Log("left after", time.Since(struck))
	l.recovered(t, time.Now(), 5*time.Second)
	l.recovered(t, struck, time.Second)
	l.end(t)
	report(t, "SIGKILL of a master and its replica, MaxWait 10 s", l, nil)
	require.Zero(t, l.unknown.Load()+l.failed.Load())
}

// TestMasterIsReplacedWithinItsCluster: a master dies or hangs, its replica is promoted. That is no switch, and with MaxWait
// nothing but a sent INCR fails.
func TestMasterIsReplacedWithinItsCluster(t *testing.T) {
	t.Parallel()
	for name, strike := range map[string]func(*clustertest.Node) error{
		"dies":  func(n *clustertest.Node) error { return n.Kill() },
		"hangs": func(n *clustertest.Node) error { return n.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, setup{prompt: name == "hangs", hook: func(o *multidb.Options) { o.MaxWait = 20 * time.Second }})
			moved := p.keysAt(p.a.Nodes[0], "moved", 1)[0]
			reads := start(8, setGet(p.rdb))
			counts := start(8, incr(p.rdb))
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, strike(p.a.Nodes[0]))
			redistest.Eventually(t, 15*time.Second, "the cluster is seen to be degraded", func() bool {
				return !p.hook.Stats().Databases[0].Degraded.IsZero()
			})
			seen := p.watchPromotion(t, p.a.ReplicaOf(0), moved)
			t.Logf("the client follows %v after the new master serves, and all go on %v after that; this machine is late by %v",
				seen.followed, reads.recovered(t, seen.served, 20*time.Second), seen.late)
			// 100 ms is the aim, and what a quiet machine logs. A busy one takes longer.
			require.Less(t, seen.followed, time.Second+5*seen.late)
			redistest.Eventually(t, 10*time.Second, "the cluster is whole again", func() bool {
				return p.hook.Stats().Databases[0].Degraded.IsZero()
			})
			time.Sleep(300 * time.Millisecond)
			reads.end(t)
			counts.end(t)
			report(t, "a master "+name+" and is replaced, MaxWait 20 s: from its replica's first answer", reads, counts)
			require.Empty(t, p.moves())
			require.Zero(t, reads.unknown.Load()+reads.failed.Load())
			require.Zero(t, counts.failed.Load())
			require.LessOrEqual(t, counts.unknown.Load(), int64(8), "one for each caller that was waiting for the dying node")
			p.mu.Lock()
			defer p.mu.Unlock()
			require.Len(t, p.degraded, 2)
			require.Equal(t, "A", p.degraded[0].Database)
			require.ErrorContains(t, p.degraded[0].Cause, p.a.Nodes[0].Addr())
			require.NoError(t, p.degraded[1].Cause)
			require.Greater(t, p.degraded[1].Lasted, time.Second)
		})
	}
}

// TestTakeoverThatLastsTooLong: the cluster is left when its time is over, once.
func TestTakeoverThatLastsTooLong(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		a:    []clustertest.Option{clustertest.NodeTimeout(20 * time.Second)},
		hook: func(o *multidb.Options) { o.Health.Takeover, o.MaxWait = 1500*time.Millisecond, 20*time.Second },
	})
	l := start(8, setGet(p.rdb))
	time.Sleep(300 * time.Millisecond)
	struck := time.Now()
	require.NoError(t, p.a.Nodes[0].Kill())
	redistest.Eventually(t, 10*time.Second, "the cluster is left", func() bool { return p.hook.Active() == "B" })
	took := time.Since(struck)
	t.Log("left after", took)
	require.Greater(t, took, 1400*time.Millisecond)
	l.recovered(t, time.Now(), 5*time.Second)
	l.end(t)
	require.Zero(t, l.unknown.Load()+l.failed.Load())
	require.Len(t, p.moves(), 1)
}

// TestPlannedFailoverAndReshardingWithinACluster: an administrator promotes a replica and moves slots. Nothing fails.
func TestPlannedFailoverAndReshardingWithinACluster(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	l := start(12, func(ctx context.Context, l *load, g, i int) error {
		if g%2 == 0 {
			return incr(p.rdb)(ctx, l, g, i)
		}
		pipe := p.rdb.Pipeline()
		for k := range 10 {
			pipe.Incr(ctx, key("n:", g, i*10+k))
		}
		return count(l, pipe)
	})
	time.Sleep(300 * time.Millisecond)
	slots := make([]int, 200)
	if testing.Short() {
		slots = slots[:60]
	}
	for i := range slots {
		slots[i] = i
	}
	p.a.MoveSlots(p.a.Nodes[0], p.a.Nodes[1], slots...)
	time.Sleep(300 * time.Millisecond)
	p.a.Failover(p.a.ReplicaOf(2))
	time.Sleep(time.Second)
	l.end(t)
	require.Empty(t, p.moves())
	p.exact(t, l)
}

// TestDegradedClusterIsChosenLast: of two that can be moved to, the whole one.
func TestDegradedClusterIsChosenLast(t *testing.T) {
	t.Parallel()
	third := clustertest.Start(t, clustertest.Masters(3, 0))
	p := newPair(t, setup{
		b: []clustertest.Option{clustertest.Masters(3, 1), clustertest.NodeTimeout(20 * time.Second)},
		hook: func(o *multidb.Options) {
			o.Databases = append(o.Databases, multidb.Database{Name: "C", Weight: 0.1, Cluster: third.Options()})
			o.Health.Interval = 200 * time.Millisecond
		},
	})
	require.NoError(t, p.b.Nodes[0].Kill())
	redistest.Eventually(t, 10*time.Second, "B is seen to be degraded", func() bool {
		return !p.hook.Stats().Databases[1].Degraded.IsZero()
	})
	require.ErrorContains(t, p.hook.SetActive(t.Context(), "B"), "degraded", "it is no place to go to")
	p.a.Kill()
	redistest.Eventually(t, 10*time.Second, "C is used", func() bool { return p.hook.Active() == "C" })
	require.NoError(t, p.rdb.Set(t.Context(), "k", 1, 0).Err())
}

// TestAllClustersAreDownThenOneReturns: callers learn it at once, and the first to return is used.
func TestAllClustersAreDownThenOneReturns(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{b: persist()})
	require.NoError(t, p.rdb.Set(t.Context(), "k", 1, 0).Err())
	p.a.Kill()
	p.b.Kill()
	redistest.Eventually(t, 10*time.Second, "nothing is usable", func() bool {
		return errors.Is(p.rdb.Set(t.Context(), "k", 2, 0).Err(), multidb.ErrNoDatabase)
	})
	began := time.Now()
	require.ErrorIs(t, p.rdb.Set(t.Context(), "k", 2, 0).Err(), multidb.ErrNoDatabase)
	require.Less(t, time.Since(began), 100*time.Millisecond)
	cmds, err := p.rdb.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.Set(t.Context(), "k", 1, 0)
		pipe.Set(t.Context(), "l", 1, 0)
		return nil
	})
	require.ErrorIs(t, err, multidb.ErrNoDatabase)
	for _, cmd := range cmds {
		require.ErrorIs(t, cmd.Err(), multidb.ErrNoDatabase)
	}
	p.b.Restart()
	redistest.Eventually(t, 5*time.Second, "B is used", func() bool { return p.rdb.Set(t.Context(), "k", 3, 0).Err() == nil })
	require.Equal(t, "B", p.hook.Active())
}

// TestClusterIsReturnedToOnceItIsWhole: of its own accord, after the grace period, and nothing fails then.
func TestClusterIsReturnedToOnceItIsWhole(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{a: persist(), hook: func(o *multidb.Options) {
		o.Failback = multidb.Failback{GracePeriod: time.Second, Jitter: -1}
		o.Health.Interval = 200 * time.Millisecond
	}})
	p.a.Kill()
	redistest.Eventually(t, 10*time.Second, "B is used", func() bool { return p.hook.Active() == "B" })
	p.a.Restart()
	l := start(8, incr(p.rdb))
	redistest.Eventually(t, 20*time.Second, "A is returned to", func() bool { return p.hook.Active() == "A" })
	time.Sleep(200 * time.Millisecond)
	l.end(t)
	p.exact(t, l)
}

// TestCallersOwnDoingIsNotTheClusters: deadlines that are too short cause no switch.
func TestCallersOwnDoingIsNotTheClusters(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{prompt: true, client: func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = true }})
	l := start(8, func(ctx context.Context, l *load, g, i int) error {
		short, cancel := context.WithTimeout(ctx, 300*time.Microsecond)
		defer cancel()
		if err := p.rdb.Incr(short, key("n:", g, i)).Err(); short.Err() == nil {
			return err
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	l.stop.Store(true)
	l.wg.Wait()
	require.Empty(t, p.moves())
	require.Equal(t, "A", p.hook.Active())
}

// keysAt returns keys that a node of A serves.
func (p *pair) keysAt(n *clustertest.Node, prefix string, count int) (keys []string) {
	for i := 0; len(keys) < count; i++ {
		k := prefix + strconv.Itoa(i)
		if p.a.Owner(cluster.KeySlot(k)) == n {
			keys = append(keys, k)
		}
	}
	return keys
}
