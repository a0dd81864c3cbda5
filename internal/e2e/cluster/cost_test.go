package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
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

// BenchmarkAdded is the difference that the hook makes: both clients take turns, and the quietest turn of each counts.
func BenchmarkAdded(b *testing.B) {
	for _, masters := range []int{3, 300} {
		b.Run(fmt.Sprint(masters, " masters"), func(b *testing.B) {
			ctx := context.Background()
			cmd := redis.NewStatusCmd(ctx, "set", "k", "v")
			best := [2]time.Duration{time.Hour, time.Hour}
			clients := [2]*redis.ClusterClient{instant(b, masters, false), instant(b, masters, true)}
			for b.Loop() {
				for i, rdb := range clients {
					const turn = 200
					began := time.Now()
					for range turn {
						if err := rdb.Process(ctx, cmd); err != nil {
							b.Fatal(err)
						}
					}
					best[i] = min(best[i], time.Since(began)/turn)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(best[0]), "ns/bare")
			b.ReportMetric(float64(best[1]), "ns/hook")
			b.ReportMetric(float64(best[1]-best[0]), "ns/added")
		})
	}
}

// TestHealthyPathOfClustersAllocatesNothing: what the hook adds to a command is measured as a difference. See the test of the
// same for single databases.
func TestHealthyPathOfClustersAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	allocations := func(rdb *redis.ClusterClient) float64 {
		cmd := redis.NewStatusCmd(ctx, "set", "k", "v")
		require.NoError(t, rdb.Process(ctx, cmd))
		return testing.AllocsPerRun(1000, func() { _ = rdb.Process(ctx, cmd) })
	}
	for _, masters := range []int{3, 300} {
		bare, hooked := 0.0, 0.0
		for range 5 {
			bare, hooked = allocations(instant(t, masters, false)), allocations(instant(t, masters, true))
			if math.Abs(hooked-bare) < 0.01 {
				break
			}
		}
		require.InDelta(t, bare, hooked, 0.01, "%d masters", masters)
	}
}
