package e2e_test

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// TestFailbackLeavesManualChoiceAlone until it is released.
func TestFailbackLeavesManualChoiceAlone(t *testing.T) {
	bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second}}, func(h *multidb.Hook, _ []*virtual.DB) {
		require.NoError(t, h.SetActive(context.Background(), "b"))
		time.Sleep(time.Hour)
		require.Equal(t, "b", h.Active())
		require.Equal(t, "b", h.Stats().Held)
		h.Release()
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())

		require.NoError(t, h.ForceActive("b", 10*time.Minute))
		time.Sleep(9 * time.Minute)
		require.Equal(t, "b", h.Active())
		time.Sleep(2 * time.Minute)
		require.Equal(t, "a", h.Active(), "the time of the manual choice is over")
	})
}

// TestManualChoiceEndsWithItsDatabase: a manual choice stands until released or dead.
func TestManualChoiceEndsWithItsDatabase(t *testing.T) {
	bubble(t, 3, multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		require.NoError(t, h.ForceActive("c", 0))
		dbs[2].Up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "a", h.Active())
		require.Empty(t, h.Stats().Held)
	})
}

// Events: ForceActive to a database that is down. It closes the breaker, and a check that had begun before records its
// failure on the closed breaker, which opens, silently: the hook stays on a dead database for ever.
func TestForceActiveStandsUntilTheDatabaseFails(t *testing.T) {
	bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: -1}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[1].Up.Store(false)
		time.Sleep(10 * time.Second)
		defer h.OnPrepare(func(ctx context.Context, _ string) { <-ctx.Done() })()
		for i := range 20 {
			require.NoError(t, h.ForceActive("b", 0))
			require.Equal(t, "b", h.Active())
			require.Equal(t, multidb.BreakerClosed, h.Stats().Databases[1].Breaker)
			took := until(time.Minute, func() bool { return h.Active() == "a" })
			require.LessOrEqual(t, took, 2*time.Second, "round %d", i)
			require.Empty(t, h.Stats().Held)
			time.Sleep(time.Duration(i*137) * time.Millisecond)
		}
	})
}

// TestAddAndRemove at run time.
func TestAddAndRemove(t *testing.T) {
	opt := multidb.Options{}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		more, specs := newVirtuals(t, 1)
		defer more[0].Redis.Close()
		specs[0].Name, specs[0].Weight = "new", 10
		require.NoError(t, h.Add(context.Background(), specs[0]))
		require.Error(t, h.Add(context.Background(), specs[0]), "the name is taken")
		time.Sleep(10 * time.Second)
		require.Equal(t, "new", h.Active(), "it is heavier and has never failed")
		require.NoError(t, h.Remove(context.Background(), "new"))
		require.Equal(t, "a", h.Active())
		require.ErrorIs(t, h.Remove(context.Background(), "new"), multidb.ErrUnknownDatabase)
		require.NoError(t, h.Remove(context.Background(), "b"))
		require.ErrorContains(t, h.Remove(context.Background(), "a"), "last")
		time.Sleep(time.Minute)
		require.Equal(t, multidb.ReasonRemoved, switches.list()[1].Reason)
		require.Len(t, h.Stats().Databases, 1)
	})
}

// Events: SetActive has found the database; Remove takes it out, before the checks have ended or after. The caller of an
// open hook is told that the hook is closed, or of a client of ours that is.
func TestSetActiveWhileRemoveTakesItsDatabase(t *testing.T) {
	var remove atomic.Pointer[func()] // taken by the first check that finds it
	opt := multidb.Options{Health: multidb.Health{Checks: []probes.Check{{Probes: 1, Probe: probes.Func("removing", func(ctx context.Context, target probes.Target) error {
		if target.Name != "b" {
			return nil
		}
		if remove := remove.Swap(nil); remove != nil {
			(*remove)()
			return probes.Ping().Check(ctx, target)
		}
		return nil
	})}}}}
	bubble(t, 3, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		byCheck := func() { assert.NoError(t, h.Remove(context.Background(), "b")) }
		remove.Store(&byCheck)
		err := h.SetActive(context.Background(), "b")
		require.ErrorIs(t, err, multidb.ErrUnknownDatabase)
		require.ErrorContains(t, err, `"b"`)
		defer h.OnPrepare(func(_ context.Context, name string) { assert.NoError(t, h.Remove(context.Background(), name)) })()
		err = h.SetActive(context.Background(), "c")
		require.ErrorIs(t, err, multidb.ErrUnknownDatabase)
		require.ErrorContains(t, err, `"c"`)
		require.Equal(t, "a", h.Active())
	})
}

// Events: a database is removed and its server shut down while sessions drain there. Their failures are counted against the
// active database, or against a new one that has the old name, and it is left.
func TestFailuresOfARemovedDatabaseAreItsOwn(t *testing.T) {
	for _, again := range []bool{false, true} {
		p := pair.New(t, nil)
		ctx := t.Context()
		third := redistest.Start(t)
		require.NoError(t, p.Hook.Add(ctx, multidb.Database{Name: "third", Weight: 0.1, Options: third.Options()}))
		conns := sessionsOn(t, p.RDB, 8)
		require.NoError(t, p.Hook.Remove(ctx, "east"))
		active := "west"
		if again {
			active = "east"
			require.NoError(t, p.Hook.Add(ctx, multidb.Database{Name: "east", Options: redistest.Start(t).Options()}))
			require.NoError(t, p.Hook.SetActive(ctx, "east"))
		}
		require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
		p.East.Kill()
		for _, conn := range conns {
			require.Error(t, conn.Incr(ctx, "n").Err())
		}
		require.Equal(t, active, p.Hook.Active())
		for _, s := range p.Hook.Stats().Databases {
			require.Zero(t, s.Failures, s.Name)
			require.Equal(t, multidb.BreakerClosed, s.Breaker, s.Name)
		}
	}
}

// TestUnknownNames in the methods of control.
func TestUnknownNames(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	for name, err := range map[string]error{
		"SetActive": p.Hook.SetActive(ctx, "nord"), "ForceActive": p.Hook.ForceActive("nord", 0),
		"SetWeight": p.Hook.SetWeight("nord", 1), "Remove": p.Hook.Remove(ctx, "nord"),
	} {
		require.ErrorIs(t, err, multidb.ErrUnknownDatabase, name)
		for _, word := range []string{`"nord"`, `"east"`, `"west"`} {
			require.ErrorContains(t, err, word, "%s: what it is and what there is", name)
		}
	}
	require.ErrorContains(t, p.Hook.SetWeight("east", math.NaN()), "NaN")
	require.Error(t, p.Hook.ForceActive("east", -1))
	require.ErrorContains(t, p.Hook.Add(ctx, multidb.Database{Name: "east", Options: p.East.Options()}), "Name")
	require.ErrorContains(t, p.Hook.Add(ctx, multidb.Database{Name: "x", Weight: -1, URL: "redis://h:1"}), "Weight = -1")
	require.Equal(t, "east", p.Hook.Active())
	require.NoError(t, p.Hook.Close())
	require.ErrorIs(t, p.Hook.SetActive(ctx, "east"), multidb.ErrClosed)
}

// Events: everything is down; Close; a database comes back. A closed hook is promised to let commands through to the
// database that was active last, but the gate of every connection still sees the choice "down": refused for ever.
func TestCloseWhileDownPassesThrough(t *testing.T) {
	east := redistest.Start(t)
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", URL: "redis://" + east.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err())
	east.Kill()
	redistest.Eventually(t, 20*time.Second, "down", func() bool { return h.Stats().Down })
	require.NoError(t, h.Close())
	east.Restart()
	redistest.Eventually(t, 20*time.Second, "a command to pass: the server is back and the hook is closed", func() bool {
		return rdb.Ping(t.Context()).Err() == nil
	})
}
