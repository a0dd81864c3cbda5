package e2e_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/window"
)

// slowBubble has two databases, the first of which takes as long as delay says to read a request, except for a PING.
func slowBubble(t *testing.T, detectors []window.Factory, f func(h *multidb.Hook, rdb *redis.Client, delay *atomic.Int64)) {
	t.Helper()
	var delay atomic.Int64
	slow := func(_ *virtual.DB, next goredis.Dialer) goredis.Dialer {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := next(ctx, network, addr)
			if err == nil && addr == "a:6379" {
				nc = &slowConn{nc, &delay}
			}
			return nc, err
		}
	}
	dialedBubble(t, multidb.Options{Detectors: detectors, Health: multidb.Health{StallTimeout: -1}}, slow, func(h *multidb.Hook, _ []*virtual.DB, rdb *redis.Client) {
		f(h, rdb, &delay)
	})
}

type slowConn struct {
	net.Conn
	delay *atomic.Int64
}

func (c *slowConn) Write(p []byte) (int, error) {
	if string(p) != "*1\r\n$4\r\nping\r\n" {
		time.Sleep(time.Duration(c.delay.Load()))
	}
	return c.Conn.Write(p)
}

// TestSlowDetector in the hook, end to end: commands that succeed, but too slowly, move the hook; a reply of nil is as slow
// as any.
func TestSlowDetector(t *testing.T) {
	for name, command := range map[string]func(ctx context.Context, rdb *redis.Client){
		"set":         func(ctx context.Context, rdb *redis.Client) { rdb.Set(ctx, "k", 1, 0) },
		"nil":         func(ctx context.Context, rdb *redis.Client) { rdb.Get(ctx, "nothing") },
		"wrong type":  func(ctx context.Context, rdb *redis.Client) { rdb.LLen(ctx, "k") },
		"pipeline":    func(ctx context.Context, rdb *redis.Client) { _, _ = rdb.Pipelined(ctx, twoGets) },
		"transaction": func(ctx context.Context, rdb *redis.Client) { _, _ = rdb.TxPipelined(ctx, twoGets) },
	} {
		t.Run(name, func(t *testing.T) {
			slowBubble(t, []window.Factory{window.NewSlow(window.SlowConfig{Bound: 50 * time.Millisecond})},
				func(h *multidb.Hook, rdb *redis.Client, delay *atomic.Int64) {
					ctx := context.Background()
					rdb.Set(ctx, "k", 1, 0)
					for range 100 {
						command(ctx, rdb)
						time.Sleep(10 * time.Millisecond)
					}
					require.Equal(t, "a", h.Active())
					delay.Store(int64(60 * time.Millisecond))
					for i := 0; h.Active() == "a"; i++ {
						require.Less(t, i, 200)
						command(ctx, rdb)
					}
					time.Sleep(time.Second)
					require.EqualValues(t, 1, h.Stats().Switches[multidb.ReasonFailureDetector])
				})
		})
	}
}

func twoGets(pipe redis.Pipeliner) error {
	pipe.Get(context.Background(), "k")
	pipe.Get(context.Background(), "nothing")
	return nil
}

// remember keeps the detectors that a factory makes: one to validate the options, then one for each database in their order.
func remember(factory *window.Factory) *[]window.Detector {
	made, original := &[]window.Detector{}, *factory
	*factory = func() window.Detector {
		d := original()
		*made = append(*made, d)
		return d
	}
	return made
}

// ofFirst is the detector of the first of two databases.
func ofFirst(made *[]window.Detector) window.Detector { return (*made)[len(*made)-2] }

// Events: two detectors have bounds of 20 ms and 200 ms, and commands take 50 ms. All of them counted as slow for both.
func TestEachSlowDetectorHasItsOwnBound(t *testing.T) {
	detectors := []window.Factory{
		window.NewSlow(window.SlowConfig{Bound: 20 * time.Millisecond, MinCommands: 1000}), // never trips here
		window.NewSlow(window.SlowConfig{Bound: 200 * time.Millisecond}),
	}
	first, second := remember(&detectors[0]), remember(&detectors[1])
	slowBubble(t, detectors, func(h *multidb.Hook, rdb *redis.Client, delay *atomic.Int64) {
		run := func(n int) {
			for range n {
				rdb.Set(context.Background(), "k", 1, 0)
			}
			time.Sleep(time.Second)
		}
		delay.Store(int64(50 * time.Millisecond))
		run(60)
		require.Equal(t, "a", h.Active())
		require.Greater(t, ofFirst(first).(window.Counting).Total(time.Now()).Slow, uint64(50))
		require.Zero(t, ofFirst(second).(window.Counting).Total(time.Now()).Slow)
		delay.Store(int64(250 * time.Millisecond))
		run(60)
		require.Equal(t, "b", h.Active())
	})
}

// Events: the application's pool is too small and its commands wait for a connection longer than the bound; each is answered
// at once. The database was left for being slow.
func TestWaitForAConnectionIsNotSlow(t *testing.T) {
	// In real time: go-redis keeps the timers of such waits for all its clients, and one made in a bubble breaks those outside.
	slow := []window.Factory{window.NewSlow(window.SlowConfig{Bound: 100 * time.Millisecond})}
	made := remember(&slow[0])
	p := pair.New(t, func(o *multidb.Options, user *redis.Options) {
		pair.Calm(o, user)
		o.Detectors = slow
		user.PoolSize, user.PoolTimeout, user.PipelinePoolSize = 1, time.Minute, -1
	})
	ctx := t.Context()
	for range 25 {
		conn := p.RDB.Conn()
		require.NoError(t, conn.Ping(ctx).Err()) // it has the one connection now
		time.AfterFunc(150*time.Millisecond, func() { _ = conn.Close() })
		require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	}
	require.Less(t, ofFirst(made).(window.Counting).Total(time.Now()).Slow, uint64(20))
	require.Empty(t, p.Switched())
}

// TestCommandsThatWaitAreNotSlow: BLPOP waits for another client, and not for the database.
func TestCommandsThatWaitAreNotSlow(t *testing.T) {
	opt := multidb.Options{Detectors: []window.Factory{window.NewSlow(window.SlowConfig{Bound: 50 * time.Millisecond})}}
	bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		rdb := redis.NewClient(dbs[0].Options("a:6379"))
		rdb.AddHook(h)
		defer rdb.Close()
		for range 40 {
			rdb.BLPop(context.Background(), 100*time.Millisecond, "empty")
		}
		require.Equal(t, "a", h.Active())
	})
}
