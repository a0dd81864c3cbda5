package multidb

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// hanging makes a database that is down hang instead of refusing: what is written to it is lost, and dials to it wait.
func hanging(v *virtual, opt *redis.Options) {
	opt.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if !v.up.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		nc, err := v.redis.Dial()
		return &hangingConn{nc, v}, err
	}
}

type hangingConn struct {
	net.Conn
	of *virtual
}

func (c *hangingConn) Write(p []byte) (int, error) {
	if !c.of.up.Load() {
		return len(p), nil // into the void
	}
	return c.Conn.Write(p)
}

// hangingBubble is bubble with databases that hang when they are down, and a client with the hook.
func hangingBubble(t *testing.T, n int, opt Options, f func(h *Hook, dbs []*virtual, rdb *redis.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, n)
		for i, v := range dbs {
			hanging(v, specs[i].Options)
		}
		opt.Databases, opt.Logger = specs, testLog(t)
		h, err := New(t.Context(), opt)
		require.NoError(t, err)
		rdb := redis.NewClient(dbs[0].options("a:6379"))
		rdb.AddHook(h)
		require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
		f(h, dbs, rdb)
		require.NoError(t, rdb.Close())
		require.NoError(t, h.Close())
		time.Sleep(20 * time.Second) // dials that nobody waits for any more
		for _, v := range dbs {
			v.redis.Close()
		}
	})
}

// halfOpenCheckOf waits until a half-open check of a database is under way and waits for an answer.
func halfOpenCheckOf(h *Hook, name string) *database {
	db := h.selector.find(name)
	for h.Active() == name || db.status() != BreakerHalfOpen {
		time.Sleep(10 * time.Millisecond)
	}
	return db
}

// Events: a hangs and b takes over; a half-open check of a waits for an answer; an operator forces a, which closes its
// breaker; the check fails. Its failure was recorded in the closed breaker, which opened without an event and without a
// decision: the hook sat on the dead database for ever.
func TestRegressionLateCheckOpensForcedDatabase(t *testing.T) {
	hangingBubble(t, 2, Options{}, func(h *Hook, dbs []*virtual, rdb *redis.Client) {
		dbs[0].up.Store(false)
		a := halfOpenCheckOf(h, "a")
		require.NoError(t, h.ForceActive("a", 0))
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			require.False(t, h.inUse(a) && !a.usable(), "the database in use has an open breaker, and nobody was told")
		}
		_ = rdb.Set(context.Background(), "k", 1, 0).Err()
		time.Sleep(5 * time.Second)
		require.Equal(t, "b", h.Active())
		require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
	})
}

// Events: as before, but a is back when it is made active by SetActive, and only the check under way is lost. Its late
// failure opened the breaker of the healthy active database; the next change of any other database's health moved
// everybody away, unplanned.
func TestRegressionLateCheckOpensDatabaseJustFoundHealthy(t *testing.T) {
	opt := Options{}
	switches := recordSwitches(&opt)
	hangingBubble(t, 3, opt, func(h *Hook, dbs []*virtual, _ *redis.Client) {
		dbs[0].up.Store(false)
		a := halfOpenCheckOf(h, "a")
		dbs[0].up.Store(true)
		require.NoError(t, h.SetActive(context.Background(), "a"))
		for range 150 {
			time.Sleep(10 * time.Millisecond)
			require.True(t, a.usable(), "the database that was just found healthy has an open breaker")
		}
		dbs[2].up.Store(false) // a passive database, of no importance
		time.Sleep(10 * time.Second)
		require.Equal(t, "a", h.Active())
		require.Len(t, switches.list(), 2, "away from a, and back by hand")
	})
}

// Events: the breaker of the active database opens, and whoever opened it asks for no decision (a defect of ours).
// Nothing else would ever ask for one.
func TestRegressionActiveDatabaseIsNotUsableAndNobodyAsks(t *testing.T) {
	bubble(t, 2, Options{}, func(h *Hook, dbs []*virtual) {
		a := h.selector.find("a")
		dbs[0].up.Store(false)
		h.openBreaker(a, a.currentGeneration(), ReasonHealthCheck, errUnreachable)
		time.Sleep(3 * time.Second)
		require.Equal(t, "b", h.Active())
	})
}
