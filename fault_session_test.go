package multidb

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Sessions and everything else that lives on a connection, across the loss of the active database.

// TestWatchUnderCrashes: optimistic transactions through raw rdb.Watch. Every committed increment is in one of the two
// databases, and no other is: a transaction that failed says so.
func TestWatchUnderCrashes(t *testing.T) {
	crashes := 100
	if testing.Short() {
		crashes = 5
	}
	p := newPair(t, func(o *Options, r *redis.Options) {
		calm(o, r)
		o.Breaker.Delay = 20 * time.Millisecond // so that 100 crashes take no hour
	}, persist)
	var committed, unknown atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				err := increment(p.rdb, "n")
				var failed *CommandError
				switch {
				case err == nil:
					committed.Add(1)
				case errors.As(err, &failed) && failed.Sent:
					unknown.Add(1)
				}
			}
		})
	}
	for range crashes {
		active, _ := p.servers()
		before := committed.Load()
		eventually(t, 20*time.Second, "transactions to go on", func() bool { return committed.Load() > before+10 })
		active.Kill()
		eventually(t, 20*time.Second, "a switch", func() bool { now, _ := p.servers(); return now != active })
		active.Restart()
		eventually(t, 20*time.Second, "both to be usable", func() bool { return p.hook.usableAgain() })
	}
	stop.Store(true)
	wg.Wait()
	sum := p.sum(t, "n")
	t.Logf("committed %d, unknown %d, sum %d", committed.Load(), unknown.Load(), sum)
	require.GreaterOrEqual(t, sum, committed.Load(), "a committed transaction is lost")
	require.LessOrEqual(t, sum, committed.Load()+unknown.Load(), "a transaction was applied that was reported as failed")
}

// increment is the classic read-modify-write: a lost lock would lose increments of others.
func increment(rdb *redis.Client, key string) error {
	ctx := context.Background()
	return rdb.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, key).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			return pipe.Set(ctx, key, n+1, 0).Err()
		})
		return err
	}, key)
}

func (h *Hook) usableAgain() bool {
	for _, db := range h.selector.all() {
		if !db.usable() {
			return false
		}
	}
	return true
}

// TestSubscriptionsFollow: no help from the user, whether the database crashes or hangs, and whether the process has
// other traffic or only subscribes.
func TestSubscriptionsFollow(t *testing.T) {
	for _, c := range []struct {
		name    string
		hang    bool
		traffic bool
		within  time.Duration
	}{
		{"crash", false, false, 2 * time.Second},
		{"hang/with traffic", true, true, 4 * time.Second},
		{"hang/only subscribing", true, false, 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, nil)
			sub := p.rdb.Subscribe(t.Context(), "news")
			defer sub.Close()
			messages := sub.Channel()
			publishUntil(t, p.east.Client(), messages, 20*time.Second)
			if c.traffic {
				l := start(2, setGet(p.rdb))
				defer l.end()
			}
			// Let the hook find nothing to do but wait, as in an idle process.
			time.Sleep(300 * time.Millisecond)
			if c.hang {
				p.east.Stop()
			} else {
				p.east.Kill()
			}
			took := publishUntil(t, p.west.Client(), messages, c.within)
			report(t, "pub/sub: "+c.name, "1 subscriber", took.Round(time.Millisecond).String(), "0")
		})
	}
}

// publishUntil publishes to one server until the subscriber hears something, and says how long that took.
func publishUntil(t *testing.T, server *redis.Client, messages <-chan *redis.Message, within time.Duration) time.Duration {
	t.Helper()
	for len(messages) > 0 {
		<-messages
	}
	began := time.Now()
	for i := 0; time.Since(began) < within; i++ {
		require.NoError(t, server.Publish(t.Context(), "news", i).Err())
		select {
		case <-messages:
			return time.Since(began)
		case <-time.After(5 * time.Millisecond):
		}
	}
	require.FailNow(t, "no message", "within %v", within)
	return 0
}

// TestOtherFacesFollow: everything that go-redis makes out of one client works again after a crash.
func TestOtherFacesFollow(t *testing.T) {
	faces := map[string]func(t *testing.T, rdb *redis.Client) func(context.Context) error{
		"WithTimeout clone": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			clone := rdb.WithTimeout(2 * time.Second)
			return func(ctx context.Context) error { return clone.Set(ctx, "k", 1, 0).Err() }
		},
		"new Conn each": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			return func(ctx context.Context) error {
				conn := rdb.Conn()
				defer conn.Close()
				return conn.Set(ctx, "k", 1, 0).Err()
			}
		},
		"pipeline": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					for i := range 20 {
						pipe.Set(ctx, "k"+strconv.Itoa(i), i, 0)
					}
					return nil
				})
				return err
			}
		},
		"autopipeline, half duplex": func(t *testing.T, rdb *redis.Client) func(context.Context) error {
			return autopipelined(t, rdb, false)
		},
		"autopipeline, full duplex": func(t *testing.T, rdb *redis.Client) func(context.Context) error {
			return autopipelined(t, rdb, true)
		},
		"redislock": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			locker := redislock.New(rdb)
			return func(ctx context.Context) error {
				lock, err := locker.Obtain(ctx, "lock", time.Second, nil)
				if err != nil {
					return err
				}
				return lock.Release(ctx)
			}
		},
	}
	for name, face := range faces {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, nil)
			op := face(t, p.rdb)
			l := start(1, func(ctx context.Context, _, _ int) error { return op(ctx) })
			eventually(t, 20*time.Second, "load to run", func() bool { return l.ops.Load() > 20 })
			l.strike(p.east.Kill)
			first, last := awaitRecovery(t, l, 30*time.Second)
			l.end()
			t.Logf("back after %v, %d unknown, errors %v", between(first, last), l.unknown.Load(), l.errs)
			require.Zero(t, l.other.Load(), "%v", l.errs)
			require.Equal(t, "west", p.hook.Active())
		})
	}
}

func autopipelined(t *testing.T, rdb *redis.Client, fullDuplex bool) func(context.Context) error {
	opt := redis.DefaultBlockingAutoPipelineOptions()
	opt.FullDuplex = fullDuplex
	ap, err := rdb.AutoPipelineWithOptions(opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ap.Close() })
	return func(ctx context.Context) error { return ap.Set(ctx, "k", 1, 0).Err() }
}

// TestClientSideCachingFollows: what was cached of the old database must not be served for the new one.
func TestClientSideCachingFollows(t *testing.T) {
	t.Run("tcp", func(t *testing.T) { cachingFollows(t) })
	t.Run("tls", func(t *testing.T) { cachingFollows(t, redistest.TLS()) })
}

func cachingFollows(t *testing.T, servers ...redistest.Option) {
	p := newPair(t, func(_ *Options, o *redis.Options) {
		o.Protocol = 3
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	}, servers...)
	ctx := t.Context()
	require.NoError(t, p.east.Client().Set(ctx, "k", "east", 0).Err())
	require.NoError(t, p.west.Client().Set(ctx, "k", "west", 0).Err())
	for range 10 {
		require.Equal(t, "east", p.rdb.Get(ctx, "k").Val())
	}
	p.east.Kill()
	eventually(t, 20*time.Second, "the value of the new database", func() bool {
		v, err := p.rdb.Get(ctx, "k").Result()
		require.NoError(t, err)
		return v == "west"
	})
	require.NoError(t, p.west.Client().Set(ctx, "k", "changed", 0).Err())
	eventually(t, 20*time.Second, "an invalidation by the new database", func() bool { return p.rdb.Get(ctx, "k").Val() == "changed" })
}

// TestConnStaysDead: a session whose connection died does not come back to life on another database, where its SELECT
// and its WATCH do not exist.
func TestConnStaysDead(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	conn := p.rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Select(ctx, 5).Err())
	require.NoError(t, conn.Set(ctx, "k", 1, 0).Err())
	p.east.Kill()
	eventually(t, 20*time.Second, "a switch", func() bool { return p.hook.Active() == "west" })
	for range 3 {
		require.Error(t, conn.Set(ctx, "k", 2, 0).Err())
	}
	require.Zero(t, p.west.Client().Exists(ctx, "k").Val())
	fresh := p.rdb.Conn()
	defer fresh.Close()
	require.NoError(t, fresh.Set(ctx, "fresh", 1, 0).Err())
	require.EqualValues(t, 1, p.west.Client().Exists(ctx, "fresh").Val(), "in index 0")
}
