package e2e_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: east -> west -> east -> west, all planned, the third at 0.7 of the first's DrainTimeout. The drain of the first
// switch ends while that of the third has only begun: it finds east inactive again, ends draining and refuses what the
// sessions of the third switch still want to send: a Watch whose session began just before fails.
func TestOverlappingDrainsKeepSessions(t *testing.T) {
	east, west := pair.Servers(t)
	const drain = 3 * time.Second // half of which a busy machine does not lose
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, DrainTimeout: drain, Databases: pair.Databases(east.Addr(), west.Addr())})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	began := time.Now()
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.NoError(t, h.SetActive(t.Context(), "east"))
	err := rdb.Watch(t.Context(), func(tx *redis.Tx) error {
		time.Sleep(time.Until(began.Add(drain * 7 / 10)))
		if err := h.SetActive(t.Context(), "west"); err != nil {
			return err
		}
		time.Sleep(time.Until(began.Add(drain * 12 / 10))) // half a DrainTimeout after the switch
		_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		return err
	}, "k")
	require.NoError(t, err, "half a DrainTimeout after a planned switch")
}

// Events: a request is in flight, and a session open, on the old database of a planned switch (or on a database that has
// been removed); the hook is closed. A closed hook is a pass-through, but the drain ended with it and cut both: the caller
// of the request hears that its fate is unknown, the session is dead.
func TestCloseDuringADrainCutsNothing(t *testing.T) {
	for name, leave := range map[string]func(ctx context.Context, h *multidb.Hook) error{
		"switch": func(_ context.Context, h *multidb.Hook) error { return h.ForceActive("west", 0) },
		"remove": func(ctx context.Context, h *multidb.Hook) error { return h.Remove(ctx, "east") },
	} {
		t.Run(name, func(t *testing.T) {
			p := pair.New(t, func(_ *multidb.Options, o *redis.Options) { o.MaintNotificationsConfig = testkit.MaintenanceOff() })
			ctx := t.Context()
			session := p.RDB.Conn()
			defer session.Close()
			require.NoError(t, session.Incr(ctx, "n").Err())
			answer := make(chan error, 1)
			waiting := p.RDB.Conn() // of the client itself, it would move
			defer waiting.Close()
			go func() { answer <- waiting.BLPop(context.Background(), 20*time.Second, "list").Err() }()
			redistest.Eventually(t, 10*time.Second, "the request to be there", func() bool {
				return strings.Contains(p.East.Client().ClientList(ctx).Val(), "cmd=blpop")
			})
			require.NoError(t, leave(ctx, p.Hook))
			require.NoError(t, session.Incr(ctx, "n").Err())
			require.NoError(t, p.Hook.Close())
			require.NoError(t, session.Incr(ctx, "n").Err())
			require.NoError(t, p.East.Client().LPush(ctx, "list", "x").Err())
			require.NoError(t, <-answer)
		})
	}
}

// Events: a client caches on its side, over TLS; a planned switch. go-redis' drainer looks at the idle connections and gets
// no error from those of the old database, so what was cached from it is served for DrainTimeout. A session that is held
// at that moment must go on all the same: the drainer does not look at it.
func TestCacheOverTLSIsDroppedByAPlannedSwitch(t *testing.T) {
	p := pair.New(t, func(opt *multidb.Options, o *redis.Options) {
		pair.Calm(opt, o)
		opt.DrainTimeout = time.Minute
		o.Protocol = 3
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
		o.MaintNotificationsConfig = testkit.MaintenanceOff()
	}, redistest.TLS())
	ctx := t.Context()
	require.NoError(t, p.East.Client().Set(ctx, "k", "east", 0).Err())
	require.NoError(t, p.West.Client().Set(ctx, "k", "west", 0).Err())
	// The hook learns from the first connection that the client caches, and replaces it: see checked.go.
	require.NoError(t, p.RDB.Ping(ctx).Err())
	session := p.RDB.Conn()
	defer session.Close()
	require.NoError(t, session.Incr(ctx, "n").Err())
	for range 10 {
		require.Equal(t, "east", p.RDB.Get(ctx, "k").Val())
	}
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	require.NoError(t, session.Incr(ctx, "n").Err())
	redistest.Eventually(t, 5*time.Second, "the value of the new database", func() bool { return p.RDB.Get(ctx, "k").Val() == "west" })
	for range 3 {
		time.Sleep(200 * time.Millisecond) // the drainer has looked meanwhile
		require.NoError(t, session.Incr(ctx, "n").Err())
	}
	require.EqualValues(t, 5, pair.Counter(t, p.East, "n"))
}

// Events: a session goes on in a drain for longer than DrainTimeout. It ends then, and a request that still waits for its
// reply there wakes up. (Until now nothing failed if that did not happen.)
func TestDrainEndsWithItsTimeout(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, c *redis.Options) {
		pair.Calm(o, c)
		o.DrainTimeout = 300 * time.Millisecond
		c.MaintNotificationsConfig = testkit.MaintenanceOff()
	})
	ctx := t.Context()
	session := p.RDB.Conn()
	defer session.Close()
	require.NoError(t, session.Incr(ctx, "n").Err())
	answer := make(chan error, 1)
	waiting := p.RDB.Conn() // of the client itself, it would move
	defer waiting.Close()
	go func() { answer <- waiting.BLPop(context.Background(), time.Minute, "list").Err() }()
	redistest.Eventually(t, 10*time.Second, "the request to be there", func() bool {
		return strings.Contains(p.East.Client().ClientList(ctx).Val(), "cmd=blpop")
	})
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	select {
	case err := <-answer:
		var failed *multidb.CommandError
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Sent)
	case <-time.After(20 * time.Second):
		require.FailNow(t, "the request has not been cut")
	}
	require.Error(t, session.Incr(ctx, "n").Err())
}

// counted is a connection that is counted as long as it is open.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return nil
}

// Events: a dial has succeeded and its connection is registered; a switch comes before the dial returns. It was repeated,
// and nobody had the first connection: it stayed open if the switch was planned and the database was returned to within
// DrainTimeout, and was counted among those of its database for ever.
func TestDialThatASwitchOvertakesIsClosed(t *testing.T) {
	var open atomic.Int64
	specs := []multidb.Database{{Name: "a", Options: fakeserver.InstantOptions("a:1")}, {Name: "b", Options: fakeserver.InstantOptions("b:1")}}
	for i := range specs {
		specs[i].Options.Dialer = func(context.Context, string, string) (net.Conn, error) {
			open.Add(1)
			return &counted{Conn: &fakeserver.Instant{}, open: &open}, nil
		}
	}
	h, err := multidb.New(t.Context(), multidb.Options{Databases: specs, Logger: testkit.Log(t)})
	require.NoError(t, err)
	probing := open.Load()
	dial := h.DialHook(nil)
	var wg sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				nc, err := dial(context.Background(), "", "")
				if err == nil {
					_ = nc.Close()
				}
			}
		})
	}
	for i := range 500 {
		_ = h.ForceActive([]string{"b", "a"}[i%2], 0)
	}
	done.Store(true)
	wg.Wait()
	for _, db := range h.Stats().Databases {
		require.Zero(t, db.Connections, "registered on %s, and nobody has them", db.Name)
	}
	require.LessOrEqual(t, open.Load(), probing+2)
	require.NoError(t, h.Close())
}
