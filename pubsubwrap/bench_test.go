package pubsubwrap

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// flood publishes n messages in pipelines, with little waiting: the reader is the slower one.
func flood(tb testing.TB, rdb *redis.Client, n int) {
	ctx := context.Background()
	for n > 0 {
		pipe := rdb.Pipeline()
		for range min(n, 500) {
			pipe.Publish(ctx, "flood", "payload")
		}
		n -= min(n, 500)
		if _, err := pipe.Exec(ctx); err != nil {
			tb.Error(err)
			return
		}
	}
}

// BenchmarkThroughput compares the stream with a bare PubSub.Channel.
func BenchmarkThroughput(b *testing.B) {
	server := redistest.Start(b, redistest.Lines("client-output-buffer-limit pubsub 0 0 0"))
	p := &pair{east: server, west: redistest.Start(b)}
	p.attach(b)
	b.Run("bare", func(b *testing.B) { benchBare(b, server) })
	b.Run("wrapped", func(b *testing.B) { benchWrapped(b, p) })
}

func benchBare(b *testing.B, server *redistest.Redis) {
	rdb := redis.NewClient(server.Options())
	defer rdb.Close()
	sub := rdb.Subscribe(b.Context(), "flood")
	defer sub.Close()
	_, err := sub.Receive(b.Context())
	require.NoError(b, err)
	messages := sub.Channel()
	b.ReportAllocs()
	b.ResetTimer()
	go flood(b, server.Client(), b.N)
	for range b.N {
		<-messages
	}
}

func benchWrapped(b *testing.B, p *pair) {
	sub, err := Subscribe(b.Context(), p.rdb, "flood")
	require.NoError(b, err)
	defer sub.Close()
	events := sub.Channel()
	b.ReportAllocs()
	b.ResetTimer()
	go flood(b, p.east.Client(), b.N)
	for range b.N {
		<-events
	}
}

// TestThroughput holds the stream to 90 % of a bare PubSub.Channel and to no allocation of its own. Runs alternate and
// the best of each counts, since the machine may be busy.
func TestThroughput(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector measures itself")
	}
	server := redistest.Start(t, redistest.Lines("client-output-buffer-limit pubsub 0 0 0"))
	p := &pair{east: server, west: redistest.Start(t)}
	p.attach(t)
	var bare, wrapped []testing.BenchmarkResult
	ratio, extra := 0.0, int64(0)
	eventually(t, time.Minute, "90 % of the throughput", func() bool {
		bare = append(bare, testing.Benchmark(func(b *testing.B) { benchBare(b, server) }))
		wrapped = append(wrapped, testing.Benchmark(func(b *testing.B) { benchWrapped(b, p) }))
		ratio = float64(best(bare)) / float64(best(wrapped))
		extra = wrapped[len(wrapped)-1].AllocsPerOp() - bare[len(bare)-1].AllocsPerOp()
		return ratio >= 0.9 && extra <= 0
	})
	t.Logf("%.0f %% of bare (%s against %s ns a message), %d more allocations",
		100*ratio, strconv.FormatInt(best(wrapped), 10), strconv.FormatInt(best(bare), 10), extra)
}

func best(results []testing.BenchmarkResult) int64 {
	ns := results[0].NsPerOp()
	for _, r := range results {
		ns = min(ns, r.NsPerOp())
	}
	return ns
}
