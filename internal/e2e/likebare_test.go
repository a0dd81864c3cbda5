package e2e_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What a client does with the hook as it does without.

// SHUTDOWN is answered by the end of the connection, and go-redis takes that very error for success. It ends one server: run again, it
// would end the other as well.
func TestShutdownSucceedsAsWithoutTheHook(t *testing.T) {
	p := pair.New(t, func(_ *multidb.Options, r *redis.Options) { r.MaxRetries = -1 })
	other := redistest.Start(t)
	bare := redis.NewClient(&redis.Options{Addr: other.Addr(), MaxRetries: -1})
	defer bare.Close()
	ended := func(server *redistest.Redis) bool { return server.Client().Ping(t.Context()).Err() != nil }

	require.NoError(t, bare.ShutdownNoSave(t.Context()).Err())
	redistest.Eventually(t, 5*time.Second, "the server of the bare client to end", func() bool { return ended(other) })
	require.NoError(t, p.RDB.ShutdownNoSave(t.Context()).Err())
	redistest.Eventually(t, 5*time.Second, "east to end", func() bool { return ended(p.East) })
	redistest.Eventually(t, 10*time.Second, "the failover", func() bool { return p.RDB.Ping(t.Context()).Err() == nil })
	require.False(t, ended(p.West), "SHUTDOWN has run twice")
}

// Events: 1. client A of index 2 logs in to a database of index 7. 2. Client B of the same hook selects an index in OnConnect at
// that moment. B's SELECT was taken for the one of a handshake, and changed to the index of the database.
func TestTheSelectOfOnConnectIsObeyedBesideAHandshake(t *testing.T) {
	server := redistest.Start(t)
	own := server.Options()
	own.DB = 7
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", Options: own}}, Health: pair.Patient})
	a := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: 2, PoolSize: 50})
	defer a.Close()
	a.AddHook(h)
	b := redis.NewClient(&redis.Options{
		Addr: server.Addr(), PoolSize: 50, DisableIdentity: true,
		MaintNotificationsConfig: testkit.MaintenanceOff(),
		OnConnect:                func(ctx context.Context, cn *redis.Conn) error { return cn.Select(ctx, 3).Err() },
	})
	defer b.Close()
	b.AddHook(h)
	ctx := t.Context()
	var all sync.WaitGroup
	for range 20 { // each a connection of its own
		for name, rdb := range map[string]*redis.Client{"a": a, "b": b} {
			all.Go(func() {
				conn := rdb.Conn()
				defer conn.Close()
				_ = conn.Incr(ctx, name).Err()
				time.Sleep(10 * time.Millisecond)
			})
		}
	}
	all.Wait()
	for index, want := range map[int][2]int{3: {0, 20}, 7: {20, 0}} {
		opt := server.Options()
		opt.DB = index
		c := redis.NewClient(opt)
		got := [2]int{}
		got[0], _ = c.Get(ctx, "a").Int()
		got[1], _ = c.Get(ctx, "b").Int()
		require.Equal(t, want, got, "a and b in index %d", index)
		require.NoError(t, c.Close())
	}
}

// Events: consumers wait by Do for longer than the ReadTimeout of their client, which ends each call. Nothing is wrong with the
// database, and it keeps its place.
func TestConsumersWhoseOwnReadTimeoutIsShorterCauseNoSwitch(t *testing.T) {
	p := pair.New(t, func(_ *multidb.Options, r *redis.Options) { r.ReadTimeout = 200 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	var timeouts atomic.Int64
	for range 10 {
		all.Go(func() {
			for ctx.Err() == nil {
				popped, err := p.RDB.Do(ctx, "BLPOP", "queue", 5).Result()
				var ne net.Error
				if popped != nil || !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("%v, %v: must be the client's own timeout", popped, err)
				}
				timeouts.Add(1)
			}
		})
	}
	all.Wait()
	require.Greater(t, timeouts.Load(), int64(10), "each waits more than once")
	require.Empty(t, p.Switched())
}

// Events: a client over TLS with client-side caching has many connections of the old database in its pool, where go-redis cannot look
// at them. A planned switch. A clone, whose go-redis runs nothing again, gets no error.
func TestClonesOverTLSGetNoErrorInAPlannedSwitch(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		pair.Calm(o, r)
		r.Protocol, r.MaxRetries, r.PoolSize = 3, -1, 20
		r.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	}, redistest.TLS())
	ctx := t.Context()
	conns := make([]*redis.Conn, 20)
	for i := range conns {
		conns[i] = p.RDB.Conn()
		require.NoError(t, conns[i].Ping(ctx).Err())
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	clone := p.RDB.WithTimeout(5 * time.Second)
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	errs := make(chan error, len(conns))
	for range conns {
		go func() { errs <- clone.Incr(ctx, "n").Err() }()
	}
	for range conns {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, len(conns), pair.Counter(t, p.West, "n"))
}

// Events: the server closes an idle connection over TLS, where go-redis does not look before it hands one out. The INCR that gets it
// was not sent, and is run again.
func TestAnIdleTLSConnectionThatTheServerClosedCostsNoError(t *testing.T) {
	for _, retries := range []int{-1, 0} {
		p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
			pair.Calm(o, r)
			r.MaxRetries = retries
		}, redistest.TLS())
		ctx, admin := t.Context(), p.East.Client()
		for i := range 5 {
			id, err := p.RDB.ClientID(ctx).Result()
			require.NoError(t, err)
			require.NoError(t, admin.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Err())
			require.NoError(t, admin.Ping(ctx).Err()) // the server closes it before it answers this
			require.NoError(t, p.RDB.Incr(ctx, "n").Err())
			require.EqualValues(t, i+1, p.Sum(t, "n"))
		}
	}
}
