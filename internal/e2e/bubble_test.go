package e2e_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// switchLog records the switches of a hook.
type switchLog struct {
	mu  sync.Mutex
	all []multidb.Switch
}

func (l *switchLog) list() []multidb.Switch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]multidb.Switch(nil), l.all...)
}

func recordSwitches(o *multidb.Options) *switchLog {
	l := &switchLog{}
	o.Events.OnSwitch = func(s multidb.Switch) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, s)
	}
	return l
}

// bubble runs f in virtual time with a hook over n databases and closes everything before the bubble ends.
func bubble(t *testing.T, n int, opt multidb.Options, f func(h *multidb.Hook, dbs []*virtual.DB)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, n)
		opt.Databases, opt.Logger = specs, testkit.Log(t)
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		f(h, dbs)
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// What is chosen, when, and why: regressions of the selector and of the health loops.

// startBubble is bubble with the state of the databases before the hook is made in the hands of the test.
func startBubble(t *testing.T, n int, opt multidb.Options, before func(dbs []*virtual.DB, specs []multidb.Database), f func(h *multidb.Hook, dbs []*virtual.DB)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, n)
		before(dbs, specs)
		opt.Databases = specs
		if opt.Logger == nil {
			opt.Logger = testkit.Log(t)
		}
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		f(h, dbs)
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// hangingBubble is bubble with databases that hang when they are down, and a client with the hook.
func hangingBubble(t *testing.T, n int, opt multidb.Options, f func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, n)
		for i, v := range dbs {
			virtual.Hanging(v, specs[i].Options)
		}
		opt.Databases, opt.Logger = specs, testkit.Log(t)
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		rdb := redis.NewClient(dbs[0].Options("a:6379"))
		rdb.AddHook(h)
		require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
		f(h, dbs, rdb)
		require.NoError(t, rdb.Close())
		require.NoError(t, h.Close())
		time.Sleep(20 * time.Second) // dials that nobody waits for any more
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// dialedBubble is hangingBubble with something around the dialer of every database.
func dialedBubble(t *testing.T, opt multidb.Options, wrap func(v *virtual.DB, next goredis.Dialer) goredis.Dialer, f func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		for i, v := range dbs {
			virtual.Hanging(v, specs[i].Options)
			specs[i].Options.Dialer = wrap(v, specs[i].Options.Dialer)
		}
		opt.Databases, opt.Logger = specs, testkit.Log(t)
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		rdb := redis.NewClient(dbs[0].Options("a:6379"))
		rdb.AddHook(h)
		f(h, dbs, rdb)
		require.NoError(t, rdb.Close())
		require.NoError(t, h.Close())
		time.Sleep(20 * time.Second) // dials that nobody waits for any more
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// until sleeps until ok, in virtual time, and returns how long that took: limit at the most.
func until(limit time.Duration, ok func() bool) time.Duration {
	began := time.Now()
	for !ok() && time.Since(began) < limit {
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// usable reports whether a database is.
func usable(h *multidb.Hook, name string) bool {
	for _, db := range h.Stats().Databases {
		if db.Name == name {
			return db.Breaker == multidb.BreakerClosed
		}
	}
	return false
}

func stateOf(h *multidb.Hook, name string) multidb.BreakerState {
	for _, db := range h.Stats().Databases {
		if db.Name == name {
			return db.Breaker
		}
	}
	return ""
}
