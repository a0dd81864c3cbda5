package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Soaks: what goes wrong seldom. In -short they are a few seconds long.

// fates are what callers were told of INCRs, each of a key of its own.
type fates struct {
	mu                    sync.Mutex
	done, unknown, unsent []string
}

func (f *fates) note(key string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.done = append(f.done, key)
	case multidb.SafeToRetry(err):
		f.unsent = append(f.unsent, key)
	default:
		f.unknown = append(f.unknown, key)
	}
}

// executed returns how often the INCRs of some keys were executed, and fails if any was more than once.
func executed(t *testing.T, p *pair.Pair, keys []string) (sum int) {
	t.Helper()
	for len(keys) > 0 {
		some := keys[:min(1000, len(keys))]
		keys = keys[len(some):]
		times := make([]int, len(some))
		for _, server := range []*redistest.Redis{p.East, p.West} {
			values, err := server.Client().MGet(t.Context(), some...).Result()
			require.NoError(t, err)
			for i, value := range values {
				if text, ok := value.(string); ok {
					n, err := strconv.Atoi(text)
					require.NoError(t, err)
					times[i] += n
				}
			}
		}
		for i, n := range times {
			require.LessOrEqual(t, n, 1, "%s was executed twice", some[i])
			sum += n
		}
	}
	return sum
}

// TestFullDuplexSessionsAreExact: full duplex runs a few INCRs 10,000 times, and others use the same pools. Connections are lost before
// a request is executed and after. Each INCR is executed as its caller is told.
func TestFullDuplexSessionsAreExact(t *testing.T) {
	sessions := 10_000
	if testing.Short() {
		sessions = 150
	}
	for name, c := range map[string]struct {
		change pair.Change
		beside func(ctx context.Context, rdb *redis.Client, i int)
	}{
		"alone": {nil, nil},
		"coalesced cache misses": {
			func(_ *multidb.Options, r *redis.Options) {
				r.Protocol, r.ClientSideCacheConfig, r.ClientSideCacheCoalesceMisses = 3, &redis.ClientSideCacheConfig{}, true
			},
			func(ctx context.Context, rdb *redis.Client, i int) {
				_ = rdb.Get(ctx, fmt.Sprint("cached:", i%7)).Err()
			},
		},
		"raw SUBSCRIBE": {nil, func(ctx context.Context, rdb *redis.Client, _ int) {
			conn := rdb.Conn()
			defer conn.Close()
			_ = conn.Do(ctx, "subscribe", "channel").Err()
			_ = conn.Do(ctx, "unsubscribe", "channel").Err()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair.NewProxied(t, func(o *multidb.Options, r *redis.Options) {
				pair.Calm(o, r)
				if c.change != nil {
					c.change(o, r)
				}
			})
			require.NoError(t, p.RDB.Ping(t.Context()).Err()) // the first handshakes of a client of go-redis have a data race among themselves
			for _, proxy := range []*faultproxy.Proxy{p.ToEast, p.ToWest} {
				proxy.ResetOneIn(83, faultproxy.BeforeExecution, faultproxy.Session)
				incr, exec := faultproxy.Named("INCR"), faultproxy.Named("EXEC")
				proxy.DropReplies(func(args []string) bool { return (incr(args) || exec(args)) && rand.IntN(61) == 0 })
			}
			ap, err := p.RDB.AutoPipelineWithOptions(&redis.AutoPipelineOptions{
				FullDuplex: true, FullDuplexMaxHold: 5 * time.Millisecond, FullDuplexIdleTimeout: 2 * time.Millisecond,
			})
			require.NoError(t, err)
			var told fates
			ctx := context.Background()
			for i := range sessions {
				var all sync.WaitGroup
				for k := range 6 {
					all.Go(func() {
						key := fmt.Sprint("fd:", i, ":", k)
						told.note(key, ap.Incr(ctx, key).Err())
					})
				}
				all.Go(func() {
					key := fmt.Sprint("one:", i)
					told.note(key, p.RDB.Incr(ctx, key).Err())
				})
				all.Go(func() {
					key := fmt.Sprint("tx:", i)
					_, err := p.RDB.TxPipelined(ctx, func(tx redis.Pipeliner) error { return tx.Incr(ctx, key).Err() })
					told.note(key, err)
				})
				if c.beside != nil {
					all.Go(func() { c.beside(ctx, p.RDB, i) })
				}
				all.Wait()
			}
			require.NoError(t, ap.Close())
			done, unknown, unsent := executed(t, &p.Pair, told.done), executed(t, &p.Pair, told.unknown), executed(t, &p.Pair, told.unsent)
			t.Logf("%d sessions: %d done, %d unknown (%d executed), %d not sent; %d switches",
				sessions, len(told.done), len(told.unknown), unknown, len(told.unsent), len(p.Switched()))
			require.Equal(t, len(told.done), done, "reported done and not executed")
			require.Zero(t, unsent, "reported not sent and executed")
			require.NotEmpty(t, told.unknown, "no connection was lost")
		})
	}
}

// TestNewConnectionsAreAnsweredRightUnderFlushes: each command gets a new connection, of a client that caches and of a database with an
// index. Another client flushes that index all the time, which every connection is told of by a push, at any moment.
func TestNewConnectionsAreAnsweredRightUnderFlushes(t *testing.T) {
	commands := 5000
	if testing.Short() {
		commands = 400
	}
	server := redistest.Start(t)
	own := server.Options()
	own.DB = 3
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", Options: own}}, Health: pair.Patient})
	rdb := redis.NewClient(&redis.Options{
		Addr: server.Addr(), Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}, ConnMaxLifetime: time.Nanosecond,
	})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err()) // see above: the first handshakes
	flusher := redis.NewClient(own)
	defer flusher.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var flushes sync.WaitGroup
	flushes.Go(func() {
		for ctx.Err() == nil {
			_ = flusher.Set(ctx, "k", "v", 0).Err()
			_ = flusher.FlushDB(ctx).Err()
		}
	})
	dials := rdb.PoolStats().Misses
	var next, wrong atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := next.Add(1); i <= int64(commands); i = next.Add(1) {
				if i%4 == 0 {
					if v, err := rdb.Get(ctx, "k").Result(); err != nil && err != redis.Nil || err == nil && v != "v" {
						wrong.Add(1)
						t.Errorf("GET k: %q, %v", v, err)
					}
					continue
				}
				want := fmt.Sprint("word ", i)
				if got, err := rdb.Echo(ctx, want).Result(); got != want || err != nil {
					wrong.Add(1)
					t.Errorf("ECHO %q: %q, %v", want, got, err)
				}
			}
		})
	}
	callers.Wait()
	stop()
	flushes.Wait()
	require.Zero(t, wrong.Load())
	t.Logf("%d commands, %d new connections", commands, rdb.PoolStats().Misses-dials)
	require.Greater(t, int(rdb.PoolStats().Misses-dials), commands/2)
}
