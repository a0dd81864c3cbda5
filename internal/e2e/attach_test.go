package e2e_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestAttachOfASecondClient: its connection that is in use is replaced when it comes back, however many connections the
// first client of the hook has.
func TestAttachOfASecondClient(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	for range 5 {
		conn := p.RDB.Conn()
		defer conn.Close()
		require.NoError(t, conn.Ping(ctx).Err())
	}
	second := redis.NewClient(p.East.Options())
	defer second.Close()
	popped := make(chan error, 1)
	go func() { popped <- second.BLPop(ctx, 1500*time.Millisecond, "nothing").Err() }()
	redistest.Eventually(t, 5*time.Second, "the BLPOP", func() bool { return second.PoolStats().TotalConns == 1 })
	require.NoError(t, p.Hook.Attach(second))
	require.ErrorIs(t, <-popped, redis.Nil)
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	redistest.Eventually(t, 5*time.Second, "the connection to be replaced", func() bool {
		require.NoError(t, second.Set(ctx, "k", "v", 0).Err())
		east, err := p.East.Client().Del(ctx, "k").Result()
		require.NoError(t, err)
		return east == 0
	})
	require.EqualValues(t, 1, p.West.Client().Exists(ctx, "k").Val())
}

// TestAttachWithASubscription: it stays where it is, and is no reason to replace anything again and again.
func TestAttachWithASubscription(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	rdb := redis.NewClient(p.East.Options())
	defer rdb.Close()
	sub := rdb.Subscribe(ctx, "news")
	defer sub.Close()
	_, err := sub.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, rdb.Ping(ctx).Err())
	require.NoError(t, p.Hook.Attach(rdb))
	require.NoError(t, rdb.Ping(ctx).Err())
	dialed := p.Hook.Stats().Databases[0].Dialed
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		require.NoError(t, rdb.Ping(ctx).Err())
	}
	require.LessOrEqual(t, p.Hook.Stats().Databases[0].Dialed-dialed, uint64(1))
}

// TestAttachAgain: is harmless, also after AddHook; a second hook is not.
func TestAttachAgain(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	require.NoError(t, p.Hook.Attach(p.RDB), "it has the hook already")
	require.NoError(t, p.Hook.Attach(p.RDB))
	p.East.Client().Set(ctx, "text", "x", 0)
	before := p.Hook.Stats().Databases[0].Successes
	require.NoError(t, p.RDB.Incr(ctx, "n").Err())
	require.EqualValues(t, 1, p.Hook.Stats().Databases[0].Successes-before, "counted once")

	other, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{{Name: "other", Options: p.West.Options()}}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer other.Close()
	require.ErrorContains(t, other.Attach(p.RDB), "another hook")
	require.NoError(t, p.Hook.Close())
	require.ErrorIs(t, p.Hook.Attach(redis.NewClient(p.East.Options())), multidb.ErrClosed)
	require.NoError(t, p.RDB.Incr(context.Background(), "n").Err())
}

// TestAttachTellsThatAClientCaches: over TLS such a client needs another type of connection, which plain AddHook learns from
// the first one only. A Watch that is the first thing the client does would fail then.
func TestAttachTellsThatAClientCaches(t *testing.T) {
	east := redistest.Start(t, redistest.TLS())
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: east.Options()}}})
	for name, cached := range map[string]func(*redis.Options){
		"config": func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} },
		"cache":  func(o *redis.Options) { o.ClientSideCache = redis.NewLocalCache(redis.CacheConfig{}) },
	} {
		t.Run(name, func(t *testing.T) {
			opt := east.Options()
			opt.Protocol = 3
			cached(opt)
			rdb := redis.NewClient(opt)
			defer rdb.Close()
			require.NoError(t, h.Attach(rdb))
			require.NoError(t, rdb.Watch(t.Context(), func(tx *redis.Tx) error {
				_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error { return p.Incr(t.Context(), name).Err() })
				return err
			}, name))
			require.EqualValues(t, 1, pair.Counter(t, east, name))
		})
	}
}

// TestAttachRefusesWhatNobodyMade: the zero value of a client panics at whatever is asked of it.
func TestAttachRefusesWhatNobodyMade(t *testing.T) {
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: redistest.Start(t).Options()}}})
	for _, client := range []*redis.Client{nil, {}} {
		require.ErrorContains(t, h.Attach(client), "redis.NewClient")
		require.Nil(t, multidb.HookOf(client))
	}
}

// TestWarnsOfAClientThatIsNotRouted: a hook added to a client whose connections were there before sees its commands and
// moves none of them. go-redis dials MinIdleConns before a hook can be added.
func TestWarnsOfAClientThatIsNotRouted(t *testing.T) {
	east := redistest.Start(t)
	way := faultproxy.Start(t, east.Addr())
	way.Delay(5 * time.Millisecond) // so that commands need a connection each
	for _, idle := range []int{0, 3} {
		options := pair.Through(east, way)
		options.MinIdleConns = idle
		log := &shared{}
		h := pair.Hook(t, multidb.Options{
			Databases: []multidb.Database{{Name: "east", Options: east.Options()}},
			Health:    multidb.Health{ActiveInterval: 50 * time.Millisecond},
			Logger:    slog.New(slog.NewTextHandler(log, nil)),
		})
		rdb := redis.NewClient(options)
		defer rdb.Close()
		if idle == 0 {
			require.NoError(t, rdb.Ping(t.Context()).Err())
		}
		redistest.Eventually(t, 10*time.Second, "connections from before the hook", func() bool {
			return rdb.PoolStats().TotalConns >= uint32(max(1, idle)) // IdleConns counts what is being dialed
		})
		rdb.AddHook(h)
		redistest.Eventually(t, 10*time.Second, "the warning", func() bool {
			var together sync.WaitGroup
			for range 8 {
				together.Go(func() { assert.NoError(t, rdb.Ping(t.Context()).Err()) })
			}
			together.Wait()
			return strings.Contains(log.String(), "Attach")
		})
		for end := time.Now().Add(5 * 250 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			require.NoError(t, rdb.Ping(t.Context()).Err())
		}
		require.Equal(t, 1, strings.Count(log.String(), "Attach"), "once is enough")
	}
}

// Events: MinIdleConns are being dialed in the background while Attach runs. Those dials began without the hook, so
// their connections are not routed; Attach counts only what the pool has already. After a switch, commands go on to the
// old database over them, silently.
func TestAttachReplacesConnectionsBeingDialed(t *testing.T) {
	east, west := pair.Servers(t)
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, Databases: pair.Databases(east.Addr(), west.Addr())})
	astray := int64(0)
	for range 5 {
		rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), MinIdleConns: 20, PoolSize: 30, PipelinePoolSize: 5,
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(20 * time.Millisecond) // a database that is not next door
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}})
		require.NoError(t, h.Attach(rdb))
		time.Sleep(200 * time.Millisecond)
		require.NoError(t, h.SetActive(t.Context(), "west"))
		before, _ := east.Client().Get(t.Context(), "n").Int64()
		var wg sync.WaitGroup
		for range 25 {
			wg.Go(func() {
				for range 10 {
					rdb.Incr(context.Background(), "n")
				}
			})
		}
		wg.Wait()
		after, _ := east.Client().Get(t.Context(), "n").Int64()
		astray += after - before
		require.NoError(t, h.SetActive(t.Context(), "east"))
		rdb.Close()
	}
	require.Zero(t, astray, "INCRs executed on east while west was active, after Attach had returned nil")
}

// TestAttachSaysWhatItCannotRoute, instead of routing half of it.
func TestAttachSaysWhatItCannotRoute(t *testing.T) {
	server := redistest.Start(t)
	hook, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{{Name: "a", Options: server.Options()}}, Logger: testkit.Log(t)})
	require.NoError(t, err)
	defer hook.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": server.Addr()}})
	defer ring.Close()
	require.ErrorContains(t, hook.Attach(cluster), "*redis.ClusterClient")
	require.ErrorContains(t, hook.Attach(ring), "*redis.Ring")
	require.Error(t, hook.Attach(nil))
	require.ErrorContains(t, hook.Attach((*redis.Client)(nil)), "nil")
	rdb := redis.NewClient(server.Options())
	defer rdb.Close()
	require.NoError(t, hook.Attach(rdb))
	require.NoError(t, rdb.Ping(t.Context()).Err())
}

func TestHookOfFindsTheHookAndSendsNothing(t *testing.T) {
	p := pair.New(t, nil)
	require.Same(t, p.Hook, multidb.HookOf(p.RDB))
	require.Zero(t, p.RDB.PoolStats().TotalConns, "nothing was dialed")
	bare := redis.NewClient(p.East.Options())
	defer bare.Close()
	require.Nil(t, multidb.HookOf(bare))
	require.Zero(t, bare.PoolStats().TotalConns)
	var none *redis.Client
	require.Nil(t, multidb.HookOf(none))
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{p.East.Addr()}})
	defer cluster.Close()
	require.Nil(t, multidb.HookOf(cluster))
}
