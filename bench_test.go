package multidb

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/cost"
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

// BenchmarkAdded is that difference.
func BenchmarkAdded(b *testing.B) {
	for _, dbs := range []int{2, 64} {
		b.Run(fmt.Sprint(dbs, " databases"), func(b *testing.B) { cost.Added(b, instantClient(b, 0), instantClient(b, dbs)) })
	}
}

// TestHealthyPathAllocatesNothing: what the hook adds to a command is measured as a difference.
func TestHealthyPathAllocatesNothing(t *testing.T) {
	for _, n := range []int{2, 64} {
		client := func(n int) func() cost.Client { return func() cost.Client { return instantClient(t, n) } }
		cost.RequireNoAllocations(t, client(0), client(n), fmt.Sprint(n, " databases"))
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
