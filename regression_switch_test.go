package multidb

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

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
		h.condemn(b, ReasonHealthCheck, errUnreachable)
		turns := b.turned()
		require.NoError(t, h.ForceActive("b", 0))
		require.False(t, h.tried(b, turns, errUnreachable))
		require.True(t, b.usable())
		require.NoError(t, b.lastErr)
	})
}

// Events: SetActive has found the database; Remove takes it out, before the checks have ended or after. The caller of an
// open hook is told that the hook is closed, or of a client of ours that is.
func TestRegressionSetActiveRacingRemove(t *testing.T) {
	var remove func()
	opt := Options{Health: Health{Checks: []probes.Check{{Probes: 1, Probe: probes.Func("removing", func(ctx context.Context, target probes.Target) error {
		if remove != nil && target.Name == "b" {
			remove()
			return probes.Ping().Check(ctx, target)
		}
		return nil
	})}}}}
	bubble(t, 3, opt, func(h *Hook, _ []*virtual) {
		remove = func() { require.NoError(t, h.Remove(context.Background(), "b")) }
		err := h.SetActive(context.Background(), "b")
		require.ErrorIs(t, err, ErrUnknownDatabase)
		require.ErrorContains(t, err, `"b"`)
		defer h.OnPrepare(func(_ context.Context, name string) { require.NoError(t, h.Remove(context.Background(), name)) })()
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
