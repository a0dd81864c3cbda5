package e2e_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// TestBothDownThenOneReturns: callers learn it at once, and nothing but the return of a database ends it.
func TestBothDownThenOneReturns(t *testing.T) {
	p := pair.New(t, nil)
	op := load.SetGet(p.RDB)
	l := load.Start(20, func(ctx context.Context, g, i int) error {
		err := op(ctx, g, i)
		if err != nil {
			time.Sleep(time.Millisecond) // 20 callers that ask without a pause would leave no processor for the probes
		}
		return err
	})
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
	p.East.Kill()
	p.West.Kill()
	redistest.Eventually(t, 5*time.Second, "the hook to notice", func() bool { return p.Hook.Stats().Down })
	began := time.Now()
	for time.Since(began) < 3*time.Second {
		asked := time.Now()
		err := p.RDB.Set(t.Context(), "k", 1, 0).Err()
		require.ErrorIs(t, err, multidb.ErrNoDatabase)
		require.True(t, multidb.SafeToRetry(err), "nothing was sent: %v", err)
		require.Less(t, time.Since(asked), time.Second)
		time.Sleep(10 * time.Millisecond)
	}
	p.West.Restart()
	l.Strike(func() {})
	first, last := l.AwaitRecovery(t, 30*time.Second)
	l.End()
	require.Equal(t, "west", p.Hook.Active())
	require.EqualValues(t, 1, p.Downs.Load())
	load.Report(t, "both down 3 s, one returns", "20 × SET/GET", load.Between(first, last)+" after its first PONG", "`ErrNoDatabase` meanwhile")
}

// TestAllDown: once nothing is usable, callers learn it at once, however the databases fail.
func TestAllDown(t *testing.T) {
	for mode, name := range map[faultproxy.Mode]string{faultproxy.Refuse: "refused", faultproxy.Hang: "hung"} {
		t.Run(name, func(t *testing.T) {
			p := pair.NewProxied(t, nil)
			op := load.SetGet(p.RDB)
			l := load.Start(20, func(ctx context.Context, g, i int) error {
				err := op(ctx, g, i)
				if err != nil {
					time.Sleep(5 * time.Millisecond) // a machine that is busy with nothing says nothing about latency
				}
				return err
			})
			defer l.End()
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
			began := time.Now()
			require.NoError(t, p.ToEast.SetMode(mode))
			require.NoError(t, p.ToWest.SetMode(mode))
			redistest.Eventually(t, 10*time.Second, "the hook to notice", func() bool { return p.Hook.Stats().Down })
			noticed := time.Since(began)
			var longest time.Duration
			for began := time.Now(); time.Since(began) < time.Second; time.Sleep(10 * time.Millisecond) {
				asked := time.Now()
				err := p.RDB.Incr(t.Context(), "n").Err()
				longest = max(longest, time.Since(asked))
				require.ErrorIs(t, err, multidb.ErrNoDatabase)
				require.True(t, multidb.SafeToRetry(err), "nothing was sent: %v", err)
			}
			require.Less(t, longest, time.Second)
			p.ToWest.Pass()
			l.Strike(func() {})
			first, last := l.AwaitRecovery(t, 30*time.Second)
			l.End()
			require.Equal(t, "west", p.Hook.Active())
			load.Report(t, "both "+name+", one returns", "20 × SET/GET", load.Between(first, last)+" after its return",
				fmt.Sprintf("`ErrNoDatabase` after %v, then each within %v", noticed.Round(time.Millisecond), longest.Round(time.Millisecond)))
		})
	}
}

// Events: all databases hang at one instant. That nothing is usable was known when the last of them had been moved to.
func TestAllDownIsFoundOutAtOnce(t *testing.T) {
	hangingBubble(t, 4, multidb.Options{}, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
		for _, v := range dbs {
			v.Up.Store(false)
		}
		began := time.Now()
		require.ErrorIs(t, rdb.Set(context.Background(), "k", 1, 0).Err(), multidb.ErrNoDatabase)
		require.Less(t, time.Since(began), time.Second)
		require.True(t, h.Stats().Down)
	})
}

// Events: a site with n databases is lost at one instant, and one database elsewhere is left. Each of the lost was found
// out only when it had been moved to: nine of them took 5.8 s.
func TestDeadDatabasesAreFoundOutAtOnce(t *testing.T) {
	for _, n := range []int{1, 2, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			opt := multidb.Options{}
			switches := recordSwitches(&opt)
			hangingBubble(t, n+1, opt, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
				time.Sleep(10 * time.Second)
				for i := range n {
					dbs[i].Up.Store(false)
				}
				began := time.Now()
				require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
				require.Less(t, time.Since(began), time.Second)
				time.Sleep(time.Second)
				require.Len(t, switches.list(), 1, "one move, to the one that is left")
				require.Equal(t, string(rune('a'+n)), h.Active())
			})
		})
	}
}

// Events: everything is down and b answers again, with a check as it is by default: three probes, 500 ms apart. It was
// used when all three had passed.
func TestFirstToAnswerEndsAnOutage(t *testing.T) {
	bubble(t, 2, multidb.Options{Health: multidb.Health{Checks: []probes.Check{{Probe: probes.Ping()}}}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		dbs[1].Up.Store(false)
		time.Sleep(10 * time.Second)
		require.True(t, h.Stats().Down)
		dbs[1].Up.Store(true)
		time.Sleep(2 * 50 * time.Millisecond)
		require.False(t, h.Stats().Down)
	})
}

// Events: a is half-open and its check takes its time; b fails as well, so everything is down; a's API answers again. The
// round from before the outage has the only permit of the half-open breaker, and gives it back to nobody: a must be used
// at once all the same, and recover by itself after the next failover.
func TestOutageEndsTheHalfOpenCheckAndItsPermit(t *testing.T) {
	var bad, trying atomic.Bool
	opt := multidb.Options{
		Breaker: multidb.Breaker{Successes: 1},
		Health: multidb.Health{Checks: []probes.Check{ping(), slowly(func(ctx context.Context, db probes.Target) error {
			if !bad.Load() || db.Name != "a" {
				return nil
			}
			trying.Store(true)
			return nineSeconds(ctx)
		})}},
	}
	bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		fail := func(i int) {
			dbs[i].Up.Store(false)
			h.Report(string(rune('a'+i)), virtual.ErrUnreachable)
			for usable(h, string(rune('a'+i))) {
				time.Sleep(time.Millisecond)
			}
		}
		fail(0)
		bad.Store(true)
		dbs[0].Up.Store(true)
		for !trying.Load() {
			time.Sleep(time.Millisecond)
		}
		dbs[0].Up.Store(false)
		fail(1)
		require.True(t, h.Stats().Down)
		bad.Store(false)
		time.Sleep(time.Second)
		dbs[1].Up.Store(true)
		time.Sleep(200 * time.Millisecond)
		require.Equal(t, "b", h.Active())
		require.False(t, h.Stats().Down, "not at once")
		dbs[0].Up.Store(true)
		time.Sleep(10 * time.Second)
		require.Equal(t, multidb.BreakerClosed, h.Stats().Databases[0].Breaker, "its permit has leaked")
	})
}

// Events: SetActive of b, whose gate takes its time; a fails, and b as well; b answers again. It was not used until the gate
// of SetActive had answered, because rounds of one database take turns.
func TestOutageDoesNotWaitForTheGateOfSetActive(t *testing.T) {
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
	bubble(t, 2, multidb.Options{Health: multidb.Health{Checks: []probes.Check{ping(), gate}}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		time.Sleep(10 * time.Second)
		done := make(chan error, 1)
		go func() { done <- h.SetActive(context.WithValue(context.Background(), asked{}, true), "b") }()
		<-gating
		for i, name := range h.Databases() {
			dbs[i].Up.Store(false)
			h.Report(name, virtual.ErrUnreachable)
		}
		time.Sleep(time.Second)
		require.True(t, h.Stats().Down)
		dbs[1].Up.Store(true)
		time.Sleep(4 * 50 * time.Millisecond)
		require.False(t, h.Stats().Down, "not at once")
		require.Equal(t, "b", h.Active())
		require.NoError(t, <-done)
	})
}
