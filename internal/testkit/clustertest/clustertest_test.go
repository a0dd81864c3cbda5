package clustertest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }

func client(t *testing.T, opt *redis.ClusterOptions) *redis.ClusterClient {
	cc := redis.NewClusterClient(opt)
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// incr counts up n keys once each and returns how often that was confirmed.
func incr(t *testing.T, cc *redis.ClusterClient, n int) int64 {
	confirmed := int64(0)
	for i := range n {
		require.NoError(t, cc.Incr(t.Context(), fmt.Sprintf("n:%d", i)).Err())
		confirmed++
	}
	return confirmed
}

// TestOneClusterAndWhatHappensToIt goes through the life of one cluster, because a cluster takes seconds to form.
func TestOneClusterAndWhatHappensToIt(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := clustertest.Start(t, clustertest.Masters(3, 1), clustertest.NodeTimeout(time.Second))
	t.Log("formed after", time.Since(began))
	ctx := t.Context()
	require.Len(t, c.Nodes, 6)
	for i, n := range c.Nodes {
		require.Equal(t, i < 3, n.IsMaster(), "node %d", i)
		require.Same(t, n, c.ByAddr(n.Addr()))
	}
	require.Nil(t, c.ByAddr("127.0.0.1:1"))
	cc := client(t, c.Options())
	confirmed := incr(t, cc, 100)
	require.Equal(t, confirmed, c.Sum("n:"))
	require.Positive(t, c.Nodes[0].Calls("INCR"), "all three have a part of the keys")
	require.Less(t, c.Nodes[0].Calls("INCR"), confirmed)

	slot, err := c.Slot("n:1")
	require.NoError(t, err)
	from := c.Owner(slot)
	require.NotNil(t, from)
	to := c.Nodes[0]
	if from == to {
		to = c.Nodes[1]
	}
	c.MoveSlots(from, to, slot)
	require.Same(t, to, c.Owner(slot))
	require.NoError(t, to.Client().Get(ctx, "n:1").Err(), "the key has moved with its slot")
	confirmed += incr(t, cc, 100)
	require.Equal(t, confirmed, c.Sum("n:"))

	c.Failover(c.ReplicaOf(1))
	require.True(t, c.ReplicaOf(1).IsMaster())
	require.Eventually(t, func() bool { return !c.Nodes[1].IsMaster() }, 10*time.Second, 10*time.Millisecond)

	require.NoError(t, c.Nodes[2].Kill())
	t.Log("a replica took over after", c.AwaitMaster(c.ReplicaOf(2)))
	require.NoError(t, c.Nodes[2].Restart())
	require.Eventually(t, func() bool { return !c.Nodes[2].IsMaster() }, 10*time.Second, 10*time.Millisecond, "it has to follow")
	c.AwaitOK()

	c.Stop()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	require.Error(t, c.Nodes[0].Client().Ping(short).Err(), "a stopped node answers nothing")
	c.Cont()
	c.AwaitOK()
	require.Zero(t, c.Denied())
}

// TestProxyStandsBeforeEachNode: what hits one node leaves the others alone, and the cluster itself notices nothing.
func TestProxyStandsBeforeEachNode(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t)
	opt := c.Proxied()
	opt.ReadTimeout, opt.MaxRedirects = 100*time.Millisecond, -1
	cc := client(t, opt)
	incr(t, cc, 50)
	hung := c.Nodes[0]
	c.Proxy(hung).Hang()
	answered, silent := 0, 0
	for i := range 50 {
		key := fmt.Sprintf("n:%d", i)
		slot, err := c.Slot(key)
		require.NoError(t, err)
		if c.Owner(slot) != hung {
			require.NoError(t, cc.Get(t.Context(), key).Err())
			answered++
		} else if silent == 0 {
			require.Error(t, cc.Get(t.Context(), key).Err())
			silent++
		}
	}
	require.Positive(t, answered)
	require.Equal(t, 1, silent)
	c.AwaitOK()
	c.Proxy(hung).Pass()
	before := c.Nodes[0].Calls("incr")
	var dropped atomic.Int64
	c.Proxy(hung).DropReplies(func(args []string) bool {
		drop := args[0] == "incr" && dropped.Load() == 0
		if drop {
			dropped.Add(1)
		}
		return drop
	})
	failed := 0
	for i := range 50 {
		if cc.Incr(t.Context(), fmt.Sprintf("n:%d", i)).Err() != nil {
			failed++
		}
	}
	require.Equal(t, 1, failed)
	require.Greater(t, c.Nodes[0].Calls("incr"), before)
	require.Equal(t, faultproxy.Pass, c.Proxy(hung).Mode())
}

// TestKindsOfNodes: passwords with replicas, TLS, users, and data that survives a crash of the whole cluster.
func TestKindsOfNodes(t *testing.T) {
	t.Parallel()
	all := clustertest.StartAll(t,
		[]clustertest.Option{clustertest.Masters(3, 1), clustertest.Nodes(redistest.Password("secret"), redistest.Persist())},
		[]clustertest.Option{clustertest.Nodes(redistest.TLS())},
		[]clustertest.Option{clustertest.Nodes(redistest.Users("default off", "bob on >pb ~* &* +@all"))},
	)
	secret, encrypted, users := all[0], all[1], all[2]
	cc := client(t, secret.Options())
	confirmed := incr(t, cc, 30)
	secret.Kill()
	secret.Restart()
	require.Equal(t, confirmed, secret.Sum("n:"))

	opt := encrypted.Options()
	opt.TLSConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // each node has a certificate of its own
	incr(t, client(t, opt), 30)

	opt = users.Options()
	opt.Username, opt.Password = "bob", "pb"
	incr(t, client(t, opt), 30)
	require.Zero(t, users.Denied())
	opt = users.Options()
	opt.Username, opt.Password = "bob", "wrong"
	require.Error(t, client(t, opt).Ping(t.Context()).Err())
	require.Positive(t, users.Denied(), "a login that is refused is counted")
}

func TestTLSCannotHaveReplicas(t *testing.T) {
	t.Parallel()
	_, err := clustertest.Run(t.Context(), clustertest.Config{Replicas: 1, Node: redistest.Config{TLS: true}})
	require.ErrorContains(t, err, "TLS")
}

// TestCloseEndsEverything: no process is left, and no proxy.
func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	g, err := clustertest.Run(t.Context(), clustertest.Config{Masters: 3})
	if err != nil {
		t.Skip(err)
	}
	p, err := g.Proxy(g.Nodes[0])
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.NoError(t, g.Close())
	_, err = net.Dial("tcp", p.Addr())
	require.Error(t, err)
	_, err = net.Dial("tcp", g.Nodes[0].Addr())
	require.Error(t, err)
	_, err = g.Proxy(g.Nodes[1])
	require.ErrorIs(t, err, net.ErrClosed)
}
