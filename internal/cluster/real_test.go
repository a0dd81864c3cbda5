package cluster_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What the nodes of real clusters say.

// asking asks the nodes of a cluster.
type asking struct {
	opt *redis.Options

	mu      sync.Mutex
	clients map[string]*redis.Client
}

func ask(t *testing.T, opt *redis.Options) *asking {
	a := &asking{opt: opt, clients: make(map[string]*redis.Client)}
	t.Cleanup(func() {
		for _, client := range a.clients {
			_ = client.Close()
		}
	})
	return a
}

func (a *asking) client(addr string) *redis.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clients[addr] == nil {
		opt := *a.opt
		opt.Addr, opt.MaxRetries, opt.DialerRetries, opt.ContextTimeoutEnabled = addr, -1, 1, true
		opt.DisableIdentity = true
		a.clients[addr] = redis.NewClient(&opt)
	}
	return a.clients[addr]
}

func (a *asking) Ask(ctx context.Context, addr string, full bool) cluster.View {
	return cluster.Look(ctx, a.client(addr), addr, full)
}

func realCluster(t *testing.T, c *clustertest.Cluster, a *asking) (*cluster.Cluster, *told) {
	o := &told{}
	live := cluster.New(cluster.Config{
		Seeds: c.Addrs()[:1], Asker: a,
		NodeTimeout: func(ctx context.Context) (time.Duration, error) {
			got, err := a.client(c.Addrs()[1]).ConfigGet(ctx, "cluster-node-timeout").Result()
			ms, _ := strconv.Atoi(got["cluster-node-timeout"])
			return time.Duration(ms) * time.Millisecond, err
		},
		Changed: func(topo *cluster.Topology) { o.mu.Lock(); defer o.mu.Unlock(); o.changed = append(o.changed, topo) },
		Failed:  o.fail,
		Healed:  func(time.Duration) { o.mu.Lock(); defer o.mu.Unlock(); o.healed++ },
	})
	t.Cleanup(live.Close)
	return live, o
}

// checkReal is a check with the time of a health check.
func checkReal(t *testing.T, c *cluster.Cluster, whole bool) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return c.Check(ctx, whole)
}

// TestRealCluster: slots that move, a planned failover, a crash with a takeover, and the loss of the quorum, as the nodes of
// a cluster tell them.
func TestRealCluster(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Masters(3, 1), clustertest.NodeTimeout(time.Second))
	live, o := realCluster(t, c, ask(t, &redis.Options{}))
	require.NoError(t, checkReal(t, live, true))
	topo := live.Topology()
	require.Equal(t, c.Addrs(), topo.Masters())
	require.Equal(t, []string{c.ReplicaOf(1).Addr()}, topo.Replicas(c.Nodes[1].Addr()))
	for i := range 50 {
		key := fmt.Sprintf("{k%d}:%d", i%7, i)
		slot, err := c.Slot(key)
		require.NoError(t, err)
		require.Equal(t, slot, cluster.KeySlot(key))
		require.Equal(t, c.Owner(slot).Addr(), owner(t, topo, slot))
	}

	c.MoveSlots(c.Nodes[0], c.Nodes[1], 0, 1)
	require.NoError(t, checkReal(t, live, true))
	require.NoError(t, checkReal(t, live, true), "each check has another node tell its slots")
	require.NoError(t, checkReal(t, live, true))
	require.Equal(t, c.Nodes[1].Addr(), owner(t, live.Topology(), 0))
	require.Equal(t, c.Nodes[0].Addr(), owner(t, live.Topology(), 2))

	c.Failover(c.ReplicaOf(1))
	require.Eventually(t, func() bool {
		return checkReal(t, live, true) == nil && owner(t, live.Topology(), 0) == c.ReplicaOf(1).Addr()
	}, 5*time.Second, 10*time.Millisecond)

	require.NoError(t, c.Nodes[2].Kill())
	require.NoError(t, checkReal(t, live, false))
	require.ErrorIs(t, checkReal(t, live, true), cluster.ErrDegraded)
	c.AwaitMaster(c.ReplicaOf(2))
	promoted := time.Now()
	require.Eventually(t, func() bool { return owner(t, live.Topology(), 16383) == c.ReplicaOf(2).Addr() }, 5*time.Second, time.Millisecond)
	t.Log("known after", time.Since(promoted))
	require.Eventually(t, func() bool { return live.Degraded().IsZero() }, 5*time.Second, 10*time.Millisecond)
	_, failed, _ := o.counts()
	require.Zero(t, failed, "the takeover was waited for")

	require.NoError(t, c.Nodes[0].Kill())
	require.NoError(t, c.ReplicaOf(1).Stop())
	began := time.Now()
	require.ErrorContains(t, checkReal(t, live, false), "of 3 masters answer")
	t.Log("lost quorum found after", time.Since(began))
}

// TestRealUserMayAskNothing: a node that does not let its user ask is alive. Without a topology there is no cluster, though.
func TestRealUserMayAskNothing(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Nodes(redistest.Users(
		"nothing on >p ~* &* +get +set", "reader on >p ~* &* +@all -config")))
	a := ask(t, &redis.Options{Username: "nothing", Password: "p"})
	v := a.Ask(t.Context(), c.Addrs()[0], true)
	require.NoError(t, v.Err)
	require.True(t, v.Limited)
	require.Nil(t, v.Slots)
	live, _ := realCluster(t, c, a)
	require.ErrorContains(t, checkReal(t, live, true), "may not ask for CLUSTER SLOTS")

	live, _ = realCluster(t, c, ask(t, &redis.Options{Username: "reader", Password: "p"}))
	require.NoError(t, checkReal(t, live, true), "the node timeout need not be known")
	v = ask(t, &redis.Options{Username: "reader", Password: "wrong"}).Ask(t.Context(), c.Addrs()[0], true)
	require.Error(t, v.Err, "a login that is refused proves nothing")
}

// TestRealFirstKeys: the first key that a command is routed by is the one that the server names first.
func TestRealFirstKeys(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, args := range [][]any{
		{"get", "k"}, {"mset", "k", 1, "l", 2}, {"eval", "return 1", 2, "k", "l"}, {"xread", "count", 1, "streams", "k", "l", "0", "0"},
		{"xreadgroup", "group", "g", "c", "streams", "k", ">"}, {"object", "encoding", "k"}, {"bitop", "and", "k", "l"},
		{"zunion", 2, "k", "l"}, {"sintercard", 2, "k", "l"}, {"lmpop", 1, "k", "left"}, {"blmpop", 0, 1, "k", "left"},
		{"bzmpop", 0, 1, "k", "min"}, {"memory", "usage", "k"}, {"xinfo", "stream", "k"}, {"xgroup", "create", "k", "g", "$"},
		{"sort", "k"}, {"migrate", "h", 1, "k", 0, 5}, {"migrate", "h", 1, "", 0, 5, "keys", "k"},
		{"pfcount", "k"}, {"geosearchstore", "k", "l", "frommember", "m", "byradius", 1, "m"}, {"restore", "k", 0, "x"},
	} {
		keys, err := server.Client().Do(t.Context(), append([]any{"command", "getkeys"}, args...)...).StringSlice()
		require.NoError(t, err, "%v", args)
		require.Equal(t, cluster.KeySlot(keys[0]), cluster.SlotOf(redis.NewCmd(t.Context(), args...)), "%v", args)
	}
}
