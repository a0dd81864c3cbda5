package cluster_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/cost"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
)

// What the hook costs a command of a ClusterClient, without a network.

// instant returns a client of a cluster without a network, with a hook over two such clusters if hooked.
func instant(t testing.TB, masters int, hooked bool) *redis.ClusterClient {
	t.Helper()
	a, b := fakeserver.NewInstantCluster("a", masters), fakeserver.NewInstantCluster("b", masters)
	rdb := redis.NewClusterClient(a.Options())
	t.Cleanup(func() { _ = rdb.Close() })
	if hooked {
		hook, err := multidb.New(t.Context(), multidb.Options{
			Databases: []multidb.Database{{Name: "A", Weight: 2, Cluster: a.Options()}, {Name: "B", Cluster: b.Options()}},
			Health: multidb.Health{
				Interval: time.Hour, ActiveInterval: time.Hour, Timeout: patience.Timeout, StallTimeout: patience.StallTimeout,
			},
			Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		t.Cleanup(func() { _ = hook.Close() })
		require.NoError(t, hook.Attach(rdb))
	}
	return rdb
}

// BenchmarkAdded is the difference that the hook makes.
func BenchmarkAdded(b *testing.B) {
	for _, masters := range []int{3, 300} {
		b.Run(fmt.Sprint(masters, " masters"), func(b *testing.B) { cost.Added(b, instant(b, masters, false), instant(b, masters, true)) })
	}
}

// TestHealthyPathOfClustersAllocatesNothing: what the hook adds to a command is measured as a difference. See the test of the
// same for single databases.
func TestHealthyPathOfClustersAllocatesNothing(t *testing.T) {
	for _, masters := range []int{3, 300} {
		client := func(hooked bool) func() cost.Client { return func() cost.Client { return instant(t, masters, hooked) } }
		cost.RequireNoAllocations(t, client(false), client(true), fmt.Sprint(masters, " masters"))
	}
}
