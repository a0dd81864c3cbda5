package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// Events: a user's check takes a second (a management API), or a dial 900 ms; minutes later the database hangs. The time
// of the check, or of the dial, was taken for the round trip and stretched the timeouts fourfold.
func TestOnlyRoundTripsStretchTheTimeouts(t *testing.T) {
	for name, tc := range map[string]struct{ check, dial time.Duration }{"check": {check: time.Second}, "dial": {dial: 900 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			opt := multidb.Options{}
			if tc.check > 0 {
				opt.Health.Checks = []probes.Check{{Probes: 1, Timeout: 2 * time.Second, Probe: probes.Func("api",
					func(context.Context, probes.Target) error { time.Sleep(tc.check); return nil })}}
			}
			slow := func(_ *virtual.DB, next goredis.Dialer) goredis.Dialer {
				return func(ctx context.Context, network, addr string) (net.Conn, error) {
					time.Sleep(tc.dial)
					return next(ctx, network, addr)
				}
			}
			dialedBubble(t, opt, slow, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
				for range 200 {
					require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
					time.Sleep(100 * time.Millisecond)
				}
				require.Less(t, h.Stats().Databases[0].Latency, 10*time.Millisecond)
				dbs[0].Up.Store(false)
				began := time.Now()
				require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
				require.Less(t, time.Since(began), time.Second+tc.dial)
			})
		})
	}
}

// distantConn is 100 ms away, there and back.
type distantConn struct{ net.Conn }

func (c distantConn) Write(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return c.Conn.Write(p)
}

// Events: a database hangs at a round trip of 100 ms. That must be noticed within a second, as promised, and the healthy
// one before must not have been left.
func TestHangOfADistantDatabase(t *testing.T) {
	opt := multidb.Options{}
	switches := recordSwitches(&opt)
	far := func(_ *virtual.DB, next goredis.Dialer) goredis.Dialer {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(100 * time.Millisecond)
			nc, err := next(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return distantConn{nc}, nil
		}
	}
	dialedBubble(t, opt, far, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
		for range 200 {
			require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
		}
		require.Equal(t, 100*time.Millisecond, h.Stats().Databases[0].Latency)
		require.Empty(t, switches.list())
		dbs[0].Up.Store(false)
		began := time.Now()
		go func() { _ = rdb.Set(context.Background(), "k", 1, 0).Err() }()
		for h.Active() == "a" {
			time.Sleep(time.Millisecond)
		}
		require.LessOrEqual(t, time.Since(began), time.Second)
		time.Sleep(time.Second)
	})
}

// Events: more checks of a user than the pool has connections keep one each for a while. The quick probes waited for a
// connection, and the checks for one another: healthy databases were found dead.
func TestSlowChecksDoNotUseUpTheConnections(t *testing.T) {
	var mu sync.Mutex
	var causes []error
	pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		for i := range 64 + 8 {
			o.Health.Checks = append(o.Health.Checks, probes.Check{Probes: 1, Timeout: 5 * time.Second,
				Probe: probes.Func(fmt.Sprint("check", i), func(ctx context.Context, db probes.Target) error {
					err := db.Client.BLPop(ctx, time.Second, "nothing").Err()
					if errors.Is(err, redis.Nil) {
						return nil
					}
					return err
				})})
		}
		o.Initial = multidb.InitialOne
		o.Health.Interval = 500 * time.Millisecond
		o.Events.OnHealth = func(c multidb.HealthChange) {
			mu.Lock()
			defer mu.Unlock()
			if c.Cause != nil {
				causes = append(causes, c.Cause)
			}
		}
	})
	time.Sleep(4 * time.Second)
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, causes, "healthy databases were condemned")
}

// Events: the connections go through something that keeps no deadlines; the network is lost for a while, and all
// connections die quietly. A PING that had been written waited for ever, and the health loop for it: an outage without an
// end. The same with the PINGs of a user's check, which use other connections.
func TestProbesOverDeafConnectionsEnd(t *testing.T) {
	for name, checks := range map[string][]probes.Check{"ping": nil, "write": {{Probe: probes.Write(probes.WriteOptions{}), Probes: 1}}} {
		t.Run(name, func(t *testing.T) {
			n := &virtual.DeafNetwork{}
			dialedBubble(t, multidb.Options{Health: multidb.Health{Checks: checks}}, n.Wrap, func(h *multidb.Hook, _ []*virtual.DB, rdb *redis.Client) {
				time.Sleep(7 * time.Second)
				n.Lose(true)
				time.Sleep(time.Minute)
				require.True(t, h.Stats().Down)
				n.Return()
				time.Sleep(2 * time.Second)
				require.False(t, h.Stats().Down)
				require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
				time.Sleep(time.Minute)
				require.Equal(t, multidb.BreakerClosed, h.Stats().Databases[0].Breaker)
				require.Equal(t, multidb.BreakerClosed, h.Stats().Databases[1].Breaker)
			})
		})
	}
}

// Events: a provider of credentials ignores its context and does not return (a login service that is gone); Close. It
// waited for it.
func TestCloseDoesNotWaitForCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 1)
		block := make(chan struct{})
		var blocking atomic.Bool
		specs[0].Options.CredentialsProviderContext = func(context.Context) (string, string, error) {
			if blocking.Load() {
				<-block
			}
			return "", "", nil
		}
		h, err := multidb.New(t.Context(), multidb.Options{Databases: specs, Logger: testkit.Log(t)})
		require.NoError(t, err)
		blocking.Store(true)
		dbs[0].Up.Store(false) // its connections die
		time.Sleep(5 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(5 * time.Second)
		began := time.Now()
		require.NoError(t, h.Close())
		require.Less(t, time.Since(began), time.Second)
		close(block)
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// Events: the way to a database swallows dials; the hook is closed. A dial of a probe went on until DialTimeout, 5 s, because
// go-redis dials beside its callers and closes no dial with the client.
func TestDialsOfProbesEndWithClose(t *testing.T) {
	var dialing atomic.Int64
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialing.Add(1)
		defer dialing.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		specs[1].Options.Dialer = hang
		h, err := multidb.New(t.Context(), multidb.Options{Databases: specs, Logger: testkit.Log(t)})
		require.NoError(t, err)
		for dialing.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		closing := time.Now()
		require.NoError(t, h.Close())
		synctest.Wait()
		require.Zero(t, dialing.Load())
		require.Less(t, time.Since(closing), time.Second)
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}
