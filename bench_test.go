package multidb

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// instantClient returns a client of n databases without a network; n = 0 is a client without the hook.
func instantClient(t testing.TB, n int) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(fakeserver.InstantOptions("db0:6379"))
	t.Cleanup(func() { _ = rdb.Close() })
	if n == 0 {
		return rdb
	}
	opt := Options{Logger: slog.New(slog.DiscardHandler), Health: Health{Interval: time.Hour, ActiveInterval: time.Hour}}
	for i := range n {
		opt.Databases = append(opt.Databases, Database{
			Name: fmt.Sprint("db", i), Weight: float64(n - i), Options: fakeserver.InstantOptions(fmt.Sprintf("db%d:6379", i)),
		})
	}
	hook, err := New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = hook.Close() })
	rdb.AddHook(hook)
	return rdb
}

// BenchmarkProcess is the cost of the healthy path: the same client, without a network, without and with the hook. Take
// the difference of rows measured in one run.
func BenchmarkProcess(b *testing.B) {
	for _, c := range []struct {
		name string
		dbs  int
	}{{"bare", 0}, {"hook/2 databases", 2}, {"hook/64 databases", 64}} {
		b.Run(c.name, func(b *testing.B) {
			rdb := instantClient(b, c.dbs)
			ctx := context.Background()
			cmd := redis.NewStatusCmd(ctx, "set", "k", "v")
			b.ReportAllocs()
			for b.Loop() {
				if err := rdb.Process(ctx, cmd); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAdded is that difference, robust against a busy machine: both clients take turns, a few hundred commands each,
// and the quietest turn of each counts.
func BenchmarkAdded(b *testing.B) {
	for _, dbs := range []int{2, 64} {
		b.Run(fmt.Sprint(dbs, " databases"), func(b *testing.B) {
			ctx := context.Background()
			cmd := redis.NewStatusCmd(ctx, "set", "k", "v")
			best := [2]time.Duration{time.Hour, time.Hour}
			clients := [2]*redis.Client{instantClient(b, 0), instantClient(b, dbs)}
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

// TestHealthyPathAllocatesNothing: what the hook adds to a command is measured as a difference.
func TestHealthyPathAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	allocations := func(rdb *redis.Client) float64 {
		cmd := redis.NewStatusCmd(ctx, "set", "k", "v")
		require.NoError(t, rdb.Process(ctx, cmd))
		return testing.AllocsPerRun(1000, func() { _ = rdb.Process(ctx, cmd) })
	}
	// All of the process is counted, and a sync.Pool may be emptied at any time: an allocation of the hook's own is there in
	// every measurement, one of somebody else's is not.
	for _, n := range []int{2, 64} {
		bare, hooked := 0.0, 0.0
		for range 5 {
			if bare, hooked = allocations(instantClient(t, 0)), allocations(instantClient(t, n)); math.Abs(hooked-bare) < 0.01 {
				break
			}
		}
		require.InDelta(t, bare, hooked, 0.01, "%d databases", n)
	}
}

// BenchmarkLoopback is the same over a real server.
func BenchmarkLoopback(b *testing.B) {
	server := redistest.Start(b)
	for _, hooked := range []bool{false, true} {
		b.Run(map[bool]string{false: "bare", true: "hook"}[hooked], func(b *testing.B) {
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer rdb.Close()
			if hooked {
				hook, err := New(b.Context(), Options{
					Databases: []Database{{Name: "one", Options: server.Options()}}, Logger: slog.New(slog.DiscardHandler),
				})
				require.NoError(b, err)
				defer hook.Close()
				rdb.AddHook(hook)
			}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
