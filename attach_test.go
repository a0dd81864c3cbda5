package multidb

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestAttachOfASecondClient: its connection that is in use is replaced when it comes back, however many connections the
// first client of the hook has.
func TestAttachOfASecondClient(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	for range 5 {
		conn := p.rdb.Conn()
		defer conn.Close()
		require.NoError(t, conn.Ping(ctx).Err())
	}
	second := redis.NewClient(p.east.Options())
	defer second.Close()
	popped := make(chan error, 1)
	go func() { popped <- second.BLPop(ctx, 1500*time.Millisecond, "nothing").Err() }()
	eventually(t, 5*time.Second, "the BLPOP", func() bool { return second.PoolStats().TotalConns == 1 })
	require.NoError(t, p.hook.Attach(second))
	require.ErrorIs(t, <-popped, redis.Nil)
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	eventually(t, 5*time.Second, "the connection to be replaced", func() bool {
		require.NoError(t, second.Set(ctx, "k", "v", 0).Err())
		east, err := p.east.Client().Del(ctx, "k").Result()
		require.NoError(t, err)
		return east == 0
	})
	require.EqualValues(t, 1, p.west.Client().Exists(ctx, "k").Val())
}

// TestAttachWithASubscription: it stays where it is, and is no reason to replace anything again and again.
func TestAttachWithASubscription(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	rdb := redis.NewClient(p.east.Options())
	defer rdb.Close()
	sub := rdb.Subscribe(ctx, "news")
	defer sub.Close()
	_, err := sub.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, rdb.Ping(ctx).Err())
	require.NoError(t, p.hook.Attach(rdb))
	require.NoError(t, rdb.Ping(ctx).Err())
	dialed := p.hook.Stats().Databases[0].Dialed
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		require.NoError(t, rdb.Ping(ctx).Err())
	}
	require.LessOrEqual(t, p.hook.Stats().Databases[0].Dialed-dialed, uint64(1))
}

// TestAttachAgain: is harmless, also after AddHook; a second hook is not.
func TestAttachAgain(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	require.NoError(t, p.hook.Attach(p.rdb), "it has the hook already")
	require.NoError(t, p.hook.Attach(p.rdb))
	p.east.Client().Set(ctx, "text", "x", 0)
	before := p.hook.Stats().Databases[0].Successes
	require.NoError(t, p.rdb.Incr(ctx, "n").Err())
	require.EqualValues(t, 1, p.hook.Stats().Databases[0].Successes-before, "counted once")

	other, err := New(ctx, Options{
		Databases: []Database{{Name: "other", Options: p.west.Options()}}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer other.Close()
	require.ErrorContains(t, other.Attach(p.rdb), "another hook")
	require.NoError(t, p.hook.Close())
	require.ErrorIs(t, p.hook.Attach(redis.NewClient(p.east.Options())), ErrClosed)
	require.NoError(t, p.rdb.Incr(context.Background(), "n").Err())
}

// TestAttachTellsThatAClientCaches: over TLS such a client needs another type of connection, which plain AddHook learns from
// the first one only. A Watch that is the first thing the client does would fail then.
func TestAttachTellsThatAClientCaches(t *testing.T) {
	east := redistest.Start(t, redistest.TLS())
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", Options: east.Options()}}})
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
			require.EqualValues(t, 1, counter(t, east, name))
		})
	}
}

// TestAttachRefusesWhatNobodyMade: the zero value of a client panics at whatever is asked of it.
func TestAttachRefusesWhatNobodyMade(t *testing.T) {
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", Options: redistest.Start(t).Options()}}})
	for _, client := range []*redis.Client{nil, {}} {
		require.ErrorContains(t, h.Attach(client), "redis.NewClient")
		require.Nil(t, HookOf(client))
	}
}

// TestWarnsOfAClientThatIsNotRouted: a hook added to a client whose connections were there before sees its commands and
// moves none of them.
func TestWarnsOfAClientThatIsNotRouted(t *testing.T) {
	east := redistest.Start(t)
	log := &shared{}
	h := regressionHook(t, Options{
		Databases: []Database{{Name: "east", Options: east.Options()}},
		Health:    Health{ActiveInterval: 50 * time.Millisecond},
		Logger:    slog.New(slog.NewTextHandler(log, nil)),
	})
	rdb := redis.NewClient(east.Options())
	defer rdb.Close()
	require.NoError(t, rdb.Ping(t.Context()).Err())
	rdb.AddHook(h)
	eventually(t, 10*time.Second, "the warning", func() bool {
		require.NoError(t, rdb.Ping(t.Context()).Err())
		return strings.Contains(log.String(), "Attach")
	})
	for end := time.Now().Add(5 * restInterval); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		require.NoError(t, rdb.Ping(t.Context()).Err())
	}
	require.Equal(t, 1, strings.Count(log.String(), "Attach"), "once is enough")
}
