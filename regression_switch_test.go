package multidb

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// How a switch is made, by whom, and what it does to connections: regressions of control.go and switch.go.

// Events: SetActive has asked the database and waits for those who prepare; the database dies, its health loop opens the
// breaker, and its review finds nothing to do, because it is not active. The choice is then published all the same, and
// nobody looks again: the hook stays on a dead database for ever.
func TestRegressionSetActiveDiesWhilePreparing(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, dbs []*virtual) {
		defer h.OnPrepare(func(ctx context.Context, _ string) {
			dbs[1].up.Store(false)
			h.Report("b", errUnreachable) // what pubsubwrap does when its connection to the new database fails
			<-ctx.Done()
		})()
		require.ErrorContains(t, h.SetActive(context.Background(), "b"), "not healthy")
		require.Equal(t, "a", h.Active())
		require.Empty(t, h.Stats().Held)
	})
}

// Events: ForceActive to a database that is down. It closes the breaker, and a check that had begun before records its
// failure on the closed breaker, which opens, silently: the hook stays on a dead database for ever.
func TestRegressionForceActiveIsUndoneByEvidence(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, dbs []*virtual) {
		dbs[1].up.Store(false)
		time.Sleep(10 * time.Second)
		defer h.OnPrepare(func(ctx context.Context, _ string) { <-ctx.Done() })()
		for i := range 20 {
			require.NoError(t, h.ForceActive("b", 0))
			require.Equal(t, "b", h.Active())
			require.Equal(t, BreakerClosed, h.Stats().Databases[1].Breaker)
			took := until(time.Minute, func() bool { return h.Active() == "a" })
			require.LessOrEqual(t, took, 2*time.Second, "round %d", i)
			require.Empty(t, h.Stats().Held)
			time.Sleep(time.Duration(i*137) * time.Millisecond)
		}
	})
}

// Events: a check of a half-open database is under way when ForceActive closes the breaker, and fails.
func TestRegressionFailureOfAnEarlierCheckIsVoid(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, _ []*virtual) {
		b := h.selector.find("b")
		h.trip(b, b.currentGeneration(), ReasonHealthCheck, errUnreachable)
		turns := b.currentGeneration()
		require.NoError(t, h.ForceActive("b", 0))
		require.False(t, h.recordTrial(b, turns, errUnreachable))
		require.True(t, b.usable())
		require.NoError(t, b.lastErr)
	})
}

// Events: SetActive has found the database; Remove takes it out, before the checks have ended or after. The caller of an
// open hook is told that the hook is closed, or of a client of ours that is.
func TestRegressionSetActiveRacingRemove(t *testing.T) {
	var remove atomic.Pointer[func()] // taken by the first check that finds it
	opt := Options{Health: Health{Checks: []probes.Check{{Probes: 1, Probe: probes.Func("removing", func(ctx context.Context, target probes.Target) error {
		if target.Name != "b" {
			return nil
		}
		if remove := remove.Swap(nil); remove != nil {
			(*remove)()
			return probes.Ping().Check(ctx, target)
		}
		return nil
	})}}}}
	bubble(t, 3, opt, func(h *Hook, _ []*virtual) {
		byCheck := func() { assert.NoError(t, h.Remove(context.Background(), "b")) }
		remove.Store(&byCheck)
		err := h.SetActive(context.Background(), "b")
		require.ErrorIs(t, err, ErrUnknownDatabase)
		require.ErrorContains(t, err, `"b"`)
		defer h.OnPrepare(func(_ context.Context, name string) { assert.NoError(t, h.Remove(context.Background(), name)) })()
		err = h.SetActive(context.Background(), "c")
		require.ErrorIs(t, err, ErrUnknownDatabase)
		require.ErrorContains(t, err, `"c"`)
		require.Equal(t, "a", h.Active())
	})
}

// Events: a request is in flight, and a session open, on the old database of a planned switch (or on a database that has
// been removed); the hook is closed. A closed hook is a pass-through, but the drain ended with it and cut both: the caller
// of the request hears that its fate is unknown, the session is dead.
func TestRegressionCloseDuringADrainCutsNothing(t *testing.T) {
	for name, leave := range map[string]func(ctx context.Context, h *Hook) error{
		"switch": func(_ context.Context, h *Hook) error { return h.ForceActive("west", 0) },
		"remove": func(ctx context.Context, h *Hook) error { return h.Remove(ctx, "east") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, func(_ *Options, o *redis.Options) { o.MaintNotificationsConfig = maintenanceOff() })
			ctx := t.Context()
			session := p.rdb.Conn()
			defer session.Close()
			require.NoError(t, session.Incr(ctx, "n").Err())
			answer := make(chan error, 1)
			go func() { answer <- p.rdb.BLPop(context.Background(), 20*time.Second, "list").Err() }()
			eventually(t, 10*time.Second, "the request to be there", func() bool {
				return strings.Contains(p.east.Client().ClientList(ctx).Val(), "cmd=blpop")
			})
			require.NoError(t, leave(ctx, p.hook))
			require.NoError(t, session.Incr(ctx, "n").Err())
			require.NoError(t, p.hook.Close())
			require.NoError(t, session.Incr(ctx, "n").Err())
			require.NoError(t, p.east.Client().LPush(ctx, "list", "x").Err())
			require.NoError(t, <-answer)
		})
	}
}

// Events: a function of OnPrepare ignores its context. The switch, and with a failback the health loop of the new
// database, waited for it for as long as it took.
func TestRegressionPreparingIsBounded(t *testing.T) {
	bubble(t, 2, Options{}, func(h *Hook, _ []*virtual) {
		goOn, calls := make(chan struct{}), atomic.Int64{}
		h.OnPrepare(func(context.Context, string) { calls.Add(1); <-goOn })
		began := time.Now()
		assert.NoError(t, h.ForceActive("b", 0))
		assert.Equal(t, prepareTime, time.Since(began))
		began = time.Now()
		assert.NoError(t, h.ForceActive("a", 0))
		assert.Zero(t, time.Since(began), "it is not called again before it has returned")
		assert.EqualValues(t, 1, calls.Load())

		closed := make(chan struct{})
		go func() { defer close(closed); assert.NoError(t, h.Close()) }()
		time.Sleep(time.Minute)
		select {
		case <-closed:
			t.Error("Close has not joined a goroutine that the hook has started")
		default:
		}
		close(goOn)
		<-closed
	})
}

// Events: a function of OnPrepare panics, in a goroutine of the hook's. That ended the process.
func TestRegressionPreparingPanics(t *testing.T) {
	bubble(t, 2, Options{}, func(h *Hook, _ []*virtual) {
		h.OnPrepare(func(context.Context, string) { panic("boom") })
		began := time.Now()
		assert.NoError(t, h.ForceActive("b", 0))
		assert.Zero(t, time.Since(began))
		assert.Equal(t, "b", h.Active())
	})
}

// Events: a client caches on its side, over TLS; a planned switch. go-redis' drainer looks at the idle connections and gets
// no error from those of the old database, so what was cached from it is served for DrainTimeout. A session that is held
// at that moment must go on all the same: the drainer does not look at it.
func TestRegressionCachedOverTLSIsDroppedByAPlannedSwitch(t *testing.T) {
	p := newPair(t, func(opt *Options, o *redis.Options) {
		calm(opt, o)
		opt.DrainTimeout = time.Minute
		o.Protocol = 3
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
		o.MaintNotificationsConfig = maintenanceOff()
	}, redistest.TLS())
	ctx := t.Context()
	require.NoError(t, p.east.Client().Set(ctx, "k", "east", 0).Err())
	require.NoError(t, p.west.Client().Set(ctx, "k", "west", 0).Err())
	// The hook learns from the first connection that the client caches, and replaces it: see checked.go.
	require.NoError(t, p.rdb.Ping(ctx).Err())
	session := p.rdb.Conn()
	defer session.Close()
	require.NoError(t, session.Incr(ctx, "n").Err())
	for range 10 {
		require.Equal(t, "east", p.rdb.Get(ctx, "k").Val())
	}
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	require.NoError(t, session.Incr(ctx, "n").Err())
	eventually(t, 5*time.Second, "the value of the new database", func() bool { return p.rdb.Get(ctx, "k").Val() == "west" })
	for range 3 {
		time.Sleep(200 * time.Millisecond) // the drainer has looked meanwhile
		require.NoError(t, session.Incr(ctx, "n").Err())
	}
	require.EqualValues(t, 5, counter(t, p.east, "n"))
}

// Events: a session goes on in a drain for longer than DrainTimeout. It ends then, and a request that still waits for its
// reply there wakes up. (Until now nothing failed if that did not happen.)
func TestRegressionDrainEndsWithItsTimeout(t *testing.T) {
	p := newPair(t, func(o *Options, c *redis.Options) {
		calm(o, c)
		o.DrainTimeout = 300 * time.Millisecond
		c.MaintNotificationsConfig = maintenanceOff()
	})
	ctx := t.Context()
	session := p.rdb.Conn()
	defer session.Close()
	require.NoError(t, session.Incr(ctx, "n").Err())
	answer := make(chan error, 1)
	go func() { answer <- p.rdb.BLPop(context.Background(), time.Minute, "list").Err() }()
	eventually(t, 10*time.Second, "the request to be there", func() bool {
		return strings.Contains(p.east.Client().ClientList(ctx).Val(), "cmd=blpop")
	})
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	select {
	case err := <-answer:
		var failed *CommandError
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Sent)
	case <-time.After(20 * time.Second):
		require.FailNow(t, "the request has not been cut")
	}
	require.Error(t, session.Incr(ctx, "n").Err())
}
