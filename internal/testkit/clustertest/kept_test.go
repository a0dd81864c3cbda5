package clustertest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestKeptClusterIsAsANewOne: the next test gets the cluster without anything of the last, and none whose nodes are not as they
// were.
func TestKeptClusterIsAsANewOne(t *testing.T) {
	end := clustertest.Keep()
	defer end()
	opts := []clustertest.Option{clustertest.Masters(3, 0), clustertest.Nodes(redistest.Persist())}
	var pids []int
	use := func(name string, test func(t *testing.T, c *clustertest.Cluster)) {
		t.Run(name, func(t *testing.T) {
			c := clustertest.Start(t, opts...)
			require.Zero(t, c.Sum("n:"))
			require.Zero(t, c.Denied())
			require.Zero(t, c.Nodes[0].Calls("incr"))
			for i, n := range c.Nodes {
				require.Same(t, n, c.Owner(i*16384/3+1))
			}
			before := pids
			pids = nil
			for _, n := range c.Nodes {
				pids = append(pids, n.Pid())
			}
			if before != nil {
				require.Equal(t, name == "the same", before[0] == pids[0])
			}
			test(t, c)
		})
	}
	use("a new one", func(t *testing.T, c *clustertest.Cluster) {
		incr(t, client(t, c.Options()), 30)
		login := c.Nodes[0].Client().Do(t.Context(), "auth", "nobody", "nothing").Err()
		require.Error(t, login)
		require.Positive(t, c.Denied())
		proxied := client(t, c.Proxied())
		require.NoError(t, proxied.Ping(t.Context()).Err())
	})
	use("the same", func(t *testing.T, c *clustertest.Cluster) {
		c.MoveSlots(c.Nodes[0], c.Nodes[1], 1)
	})
	use("another, for slots have moved", func(t *testing.T, c *clustertest.Cluster) {
		require.NoError(t, c.Nodes[1].Kill())
	})
	use("another, for a node was killed", func(*testing.T, *clustertest.Cluster) {})
}
