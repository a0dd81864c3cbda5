package clusterclient_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/testkit"
)

// large answers for every node of a cluster of many masters, without a network.
type large struct{ slots []redis.ClusterSlot }

func (l large) Ask(_ context.Context, addr string, full bool) cluster.View {
	v := cluster.View{Addr: addr, OK: true, Epoch: 1}
	if full {
		v.Slots = l.slots
	}
	return v
}

// largeCluster has its slots split evenly among masters that nobody dials.
func largeCluster(t *testing.T, net string, masters int) *cluster.Cluster {
	var slots []redis.ClusterSlot
	for i := range masters {
		slots = append(slots, redis.ClusterSlot{
			Start: i * cluster.Slots / masters, End: (i+1)*cluster.Slots/masters - 1,
			Nodes: []redis.ClusterNode{{ID: fmt.Sprint(net, i), Addr: fmt.Sprintf("%s.%d:%d", net, 1+i%200, 6379+i/200)}},
		})
	}
	c := cluster.New(cluster.Config{Seeds: []string{slots[0].Nodes[0].Addr}, Asker: large{slots}})
	t.Cleanup(c.Close)
	_, err := c.Refresh(t.Context())
	require.NoError(t, err)
	return c
}

// TestClientsOfLargeClustersFollowSoon: a switch between clusters of 300 masters, of which the client has never had a node or
// has had all of them.
func TestClientsOfLargeClustersFollowSoon(t *testing.T) {
	const masters = 300
	h := newHost(t)
	for _, net := range []string{"192.0.2", "198.51.100"} {
		h.clusters = append(h.clusters, largeCluster(t, net, masters))
	}
	h.use(0)
	cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"192.0.2.1:6379"}})
	t.Cleanup(func() { _ = cc.Close() })
	c, err := clusterclient.Follow(h, cc)
	require.NoError(t, err)
	c.Await(t.Context(), h.Choice())
	best := time.Hour
	for i := range 10 {
		choice := h.use((i + 1) % 2)
		began := time.Now()
		c.Await(t.Context(), choice)
		took := time.Since(began)
		require.True(t, c.Synced(choice))
		node, err := cc.MasterForKey(t.Context(), "k")
		require.NoError(t, err)
		owner, _ := choice.Cluster.Topology().Owner(cluster.KeySlot("k"))
		require.Equal(t, owner, node.Options().Addr)
		t.Logf("switch %d: %v", i, took)
		if best = min(best, took); i == 0 && !testkit.RaceEnabled {
			require.Less(t, took, 100*time.Millisecond, "the clients of 300 nodes are made")
		}
	}
	if !testkit.RaceEnabled {
		require.Less(t, best, 20*time.Millisecond)
	}
}
