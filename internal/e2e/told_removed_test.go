package e2e_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// recordHealth records what OnHealth is told.
func recordHealth(o *multidb.Options) (told func() []multidb.HealthChange) {
	var mu sync.Mutex
	var all []multidb.HealthChange
	o.Events.OnHealth = func(c multidb.HealthChange) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
	}
	return func() []multidb.HealthChange {
		mu.Lock()
		defer mu.Unlock()
		return append([]multidb.HealthChange(nil), all...)
	}
}

// Events:
//  1. b hangs and is suspected.
//  2. It is removed, and another database is added under its name, which is healthy.
//  3. The verdict on the first one came after that: OnHealth said that b was not usable, and nothing took it back.
func TestNothingIsToldOfARemovedDatabaseBesideANewOneOfItsName(t *testing.T) {
	opt := multidb.Options{}
	told := recordHealth(&opt)
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 3)
		for i, v := range dbs {
			virtual.Hanging(v, specs[i].Options)
		}
		opt.Databases, opt.Logger = specs[:2], testkit.Log(t)
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		time.Sleep(time.Second)
		dbs[1].Up.Store(false)
		h.Report("b", &net.OpError{Op: "read", Err: net.ErrClosed})
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, h.Remove(t.Context(), "b"))
		again := specs[2]
		again.Name = "b"
		require.NoError(t, h.Add(t.Context(), again))
		time.Sleep(time.Minute)
		require.Equal(t, multidb.BreakerClosed, stateOf(h, "b"))
		require.NoError(t, h.Close())
		time.Sleep(20 * time.Second) // dials that nobody waits for any more
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
	var last multidb.HealthChange
	for _, c := range told() {
		if c.Database == "b" {
			last = c
		}
	}
	require.Equal(t, multidb.BreakerClosed, last.State, "the last that was told of b, which is usable")
}

// Events: a database is removed while its first check is under way, which hangs. By our own doing it was told to have failed. Add,
// which waits for that check, returns.
func TestRemovalDuringTheFirstCheckIsNoFailure(t *testing.T) {
	opt := multidb.Options{}
	told := recordHealth(&opt)
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		for i, v := range dbs {
			virtual.Hanging(v, specs[i].Options)
		}
		opt.Databases, opt.Logger = specs[:1], testkit.Log(t)
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		dbs[1].Up.Store(false)
		added := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { added <- h.Add(ctx, specs[1]) }()
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, h.Remove(t.Context(), "b"))
		require.NoError(t, <-added)
		require.NoError(t, ctx.Err(), "Add has waited for nothing")
		require.NoError(t, h.Close())
		time.Sleep(20 * time.Second) // dials that nobody waits for any more
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
	for _, c := range told() {
		require.NotEqual(t, "b", c.Database, "%s: %v", c.State, c.Cause)
	}
}
