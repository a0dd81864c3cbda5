package multidb

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/probes"
)

// slowly is a check of a user's that is given 10 s.
func slowly(check func(context.Context, probes.Target) error) probes.Check {
	return probes.Check{Probes: 1, Timeout: 10 * time.Second, Probe: probes.Func("api", check)}
}

func nineSeconds(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(9 * time.Second):
		return nil
	}
}

// withinASecond runs a command on a database that has just begun to hang.
func withinASecond(t *testing.T, rdb *redis.Client) {
	t.Helper()
	began := time.Now()
	require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
	require.Less(t, time.Since(began), time.Second, "the suspicion waited for a check")
}

// Events: a regular check of the active database fails, is run once more, and takes its time (a management API that does
// not answer); meanwhile the server hangs. The second check ran in the health loop, which confirmed nothing until then.
func TestRegressionSecondCheckHoldsUpConfirmation(t *testing.T) {
	var bad atomic.Bool
	var calls atomic.Int64
	opt := Options{Health: Health{Checks: []probes.Check{ping(), slowly(func(ctx context.Context, db probes.Target) error {
		switch {
		case !bad.Load() || db.Name != "a":
			return nil
		case calls.Add(1) == 1:
			return errors.New("503")
		}
		return nineSeconds(ctx)
	})}}}
	hangingBubble(t, 2, opt, func(_ *Hook, dbs []*virtual, rdb *redis.Client) {
		bad.Store(true)
		for calls.Load() < 2 {
			require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
			time.Sleep(50 * time.Millisecond)
		}
		dbs[0].up.Store(false)
		withinASecond(t, rdb)
	})
}

// ping is the default check.
func ping() probes.Check { return probes.Check{Probe: probes.Ping(), Probes: 1} }

// Events: a is to be returned to, and its lag check takes its time; an operator forces a meanwhile; a hangs. The gate ran
// in the health loop of a.
func TestRegressionGateHoldsUpConfirmation(t *testing.T) {
	var bad, gating atomic.Bool
	check := slowly(func(ctx context.Context, db probes.Target) error {
		if !bad.Load() || db.Name != "a" {
			return nil
		}
		gating.Store(true)
		return nineSeconds(ctx)
	})
	check.Probe = probes.Gate(check.Probe)
	opt := Options{Failback: Failback{GracePeriod: time.Second, Jitter: -1}, Health: Health{Checks: []probes.Check{ping(), check}}}
	hangingBubble(t, 3, opt, func(h *Hook, dbs []*virtual, rdb *redis.Client) {
		dbs[0].up.Store(false)
		for h.Active() != "b" {
			time.Sleep(10 * time.Millisecond)
		}
		bad.Store(true)
		dbs[0].up.Store(true)
		for !gating.Load() {
			require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
			time.Sleep(50 * time.Millisecond)
		}
		require.NoError(t, h.ForceActive("a", 0))
		require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
		dbs[0].up.Store(false)
		withinASecond(t, rdb)
	})
}

// Events: a half-open check of a takes its time; an operator forces a meanwhile; a hangs. The check ran in the health
// loop of a.
func TestRegressionTrialHoldsUpConfirmation(t *testing.T) {
	var bad, trying atomic.Bool
	opt := Options{Health: Health{Checks: []probes.Check{ping(), slowly(func(ctx context.Context, db probes.Target) error {
		if !bad.Load() || db.Name != "a" {
			return nil
		}
		trying.Store(true)
		return nineSeconds(ctx)
	})}}}
	hangingBubble(t, 2, opt, func(h *Hook, dbs []*virtual, rdb *redis.Client) {
		dbs[0].up.Store(false)
		for h.Active() != "b" {
			time.Sleep(10 * time.Millisecond)
		}
		bad.Store(true)
		dbs[0].up.Store(true)
		for !trying.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, h.ForceActive("a", 0))
		require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
		dbs[0].up.Store(false)
		withinASecond(t, rdb)
	})
}

// Events: a is half-open and its check takes its time; b fails as well, so everything is down; a's API answers again. The
// round from before the outage has the only permit of the half-open breaker, and gives it back to nobody: a must be used
// at once all the same, and recover by itself after the next failover.
func TestRegressionOutageDropsTheTrialAndItsPermit(t *testing.T) {
	var bad, trying atomic.Bool
	opt := Options{
		Breaker: Breaker{Successes: 1},
		Health: Health{Checks: []probes.Check{ping(), slowly(func(ctx context.Context, db probes.Target) error {
			if !bad.Load() || db.Name != "a" {
				return nil
			}
			trying.Store(true)
			return nineSeconds(ctx)
		})}},
	}
	bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
		fail := func(i int) {
			dbs[i].up.Store(false)
			h.Report(string(rune('a'+i)), errUnreachable)
			for h.selector.all()[i].usable() {
				time.Sleep(time.Millisecond)
			}
		}
		fail(0)
		bad.Store(true)
		dbs[0].up.Store(true)
		for !trying.Load() {
			time.Sleep(time.Millisecond)
		}
		dbs[0].up.Store(false)
		fail(1)
		require.True(t, h.Stats().Down)
		bad.Store(false)
		time.Sleep(time.Second)
		dbs[1].up.Store(true)
		time.Sleep(200 * time.Millisecond)
		require.Equal(t, "b", h.Active())
		require.False(t, h.Stats().Down, "not at once")
		dbs[0].up.Store(true)
		time.Sleep(10 * time.Second)
		require.Equal(t, BreakerClosed, h.Stats().Databases[0].Breaker, "its permit has leaked")
	})
}

// Events: everything is down and b answers again, with a check as it is by default: three probes, 500 ms apart. It was
// used when all three had passed.
func TestRegressionFirstToAnswerWaitsForThreeProbes(t *testing.T) {
	bubble(t, 2, Options{Health: Health{Checks: []probes.Check{{Probe: probes.Ping()}}}}, func(h *Hook, dbs []*virtual) {
		dbs[0].up.Store(false)
		dbs[1].up.Store(false)
		time.Sleep(10 * time.Second)
		require.True(t, h.Stats().Down)
		dbs[1].up.Store(true)
		time.Sleep(2 * downInterval)
		require.False(t, h.Stats().Down)
	})
}

// Events: SetActive of b, whose gate takes its time; a fails, and b as well; b answers again. It was not used until the gate
// of SetActive had answered, because rounds of one database take turns.
func TestRegressionOutageWaitsForTheGateOfSetActive(t *testing.T) {
	type asked struct{}
	gating := make(chan struct{})
	gate := slowly(func(ctx context.Context, _ probes.Target) error {
		if ctx.Value(asked{}) == nil {
			return nil // a regular round, which may come at any time and would have SetActive wait for its turn
		}
		close(gating)
		return nineSeconds(ctx)
	})
	gate.Probe = probes.Gate(gate.Probe)
	bubble(t, 2, Options{Health: Health{Checks: []probes.Check{ping(), gate}}}, func(h *Hook, dbs []*virtual) {
		time.Sleep(10 * time.Second)
		done := make(chan error, 1)
		go func() { done <- h.SetActive(context.WithValue(context.Background(), asked{}, true), "b") }()
		<-gating
		for i, db := range h.selector.all() {
			dbs[i].up.Store(false)
			h.Report(db.name, errUnreachable)
		}
		time.Sleep(time.Second)
		require.True(t, h.Stats().Down)
		dbs[1].up.Store(true)
		time.Sleep(4 * downInterval)
		require.False(t, h.Stats().Down, "not at once")
		require.Equal(t, "b", h.Active())
		require.NoError(t, <-done)
	})
}
