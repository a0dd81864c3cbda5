package e2e_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

func TestFailbackAfterGrace(t *testing.T) {
	opt := multidb.Options{Failback: multidb.Failback{GracePeriod: 30 * time.Second, Jitter: -1}}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		time.Sleep(3 * time.Second)
		require.Equal(t, "b", h.Active())
		dbs[0].Up.Store(true)
		time.Sleep(30 * time.Second)
		require.Equal(t, "b", h.Active(), "it has been back for less than its grace period: recovery takes probes too")
		time.Sleep(15 * time.Second)
		require.Equal(t, "a", h.Active())
		time.Sleep(time.Second)
		require.Len(t, switches.list(), 2)
		require.Equal(t, multidb.ReasonFailback, switches.list()[1].Reason)
		require.True(t, switches.list()[1].Planned)
	})
}

func TestFailbackOff(t *testing.T) {
	bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: -1}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		time.Sleep(3 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(time.Hour)
		require.Equal(t, "b", h.Active())
	})
}

// TestTiesStayWhereTheyAre: failback wants a strictly heavier database.
func TestTiesStayWhereTheyAre(t *testing.T) {
	bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		require.NoError(t, h.SetWeight("b", 2))
		dbs[0].Up.Store(false)
		time.Sleep(3 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(time.Hour)
		require.Equal(t, "b", h.Active())
	})
}

// The return comes when the grace period is over, and not up to an interval of health checks later, whenever the outage
// began. (After a short outage the next regular check was not due yet, and only a check leads to a return.)
func TestFailbackDoesNotWaitForTheNextInterval(t *testing.T) {
	for offset := range 5 {
		opt := multidb.Options{Failback: multidb.Failback{GracePeriod: 300 * time.Millisecond, Jitter: -1}}
		bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
			time.Sleep(10*time.Second + time.Duration(offset)*time.Second)
			dbs[0].Up.Store(false)
			for h.Active() == "a" {
				time.Sleep(10 * time.Millisecond)
			}
			dbs[0].Up.Store(true)
			for h.Stats().Databases[0].Breaker != multidb.BreakerClosed {
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Second)
			require.Equal(t, "a", h.Active(), "a second after it was usable again, with a grace period of 0.3 s")
		})
	}
}

// TestFlapping: a database that is up for a second and down for a second, for two minutes. Without the growing grace it
// would be returned to each time.
func TestFlapping(t *testing.T) {
	run := func(t *testing.T, factor float64) int {
		opt := multidb.Options{
			Failback: multidb.Failback{GracePeriod: 300 * time.Millisecond, Factor: factor, Jitter: -1},
			Breaker:  multidb.Breaker{Delay: 50 * time.Millisecond, Successes: 1},
			Health:   multidb.Health{Interval: 100 * time.Millisecond, ActiveInterval: 100 * time.Millisecond},
		}
		switches := recordSwitches(&opt)
		bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
			for range 60 {
				dbs[0].Up.Store(false)
				time.Sleep(time.Second)
				dbs[0].Up.Store(true)
				time.Sleep(time.Second)
			}
		})
		return len(switches.list())
	}
	steady, growing := run(t, 1), run(t, 2)
	t.Logf("switches in two minutes: %d without growth, %d with", steady, growing)
	require.Greater(t, steady, 60, "the test must be able to see flapping")
	// Grace 0.3, 0.6, 1.2 s: from there on a second of health is not enough.
	require.LessOrEqual(t, growing, 6)
}

// TestSetWeightMoves: a weight that makes another database preferred moves there as planned.
func TestSetWeightMoves(t *testing.T) {
	opt := multidb.Options{}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		require.NoError(t, h.SetWeight("b", 5))
		time.Sleep(time.Second)
		require.Equal(t, "b", h.Active())
		require.Len(t, switches.list(), 1)
		require.Equal(t, multidb.ReasonWeight, switches.list()[0].Reason)
		for _, bad := range []float64{-1, 0} {
			require.ErrorContains(t, h.SetWeight("b", bad), "must be")
		}
		require.ErrorIs(t, h.SetWeight("z", 1), multidb.ErrUnknownDatabase)
	})
}

// Events: SetWeight makes the active database the last of three. The two others are compared with it one by one, and
// whichever is checked first wins: the move goes to the second best, and a second one to the best.
func TestPlannedMoveGoesToTheBest(t *testing.T) {
	for range 20 {
		opt := multidb.Options{}
		switches := recordSwitches(&opt)
		bubble(t, 4, opt, func(h *multidb.Hook, _ []*virtual.DB) {
			require.NoError(t, h.SetWeight("a", 0.5))
			time.Sleep(time.Minute)
		})
		require.Len(t, switches.list(), 1)
		require.Equal(t, "b", switches.list()[0].To)
	}
}

// Events: a failover; SetWeight that changes nothing about who is preferred; the return. It is said to be for the weight.
func TestReasonWeightIsForItsEffect(t *testing.T) {
	for _, c := range []struct {
		name   string
		weigh  func(h *multidb.Hook) error
		reason multidb.Reason
	}{
		{"no effect", func(h *multidb.Hook) error { return h.SetWeight("c", 0.9) }, multidb.ReasonFailback},
		{"even more so", func(h *multidb.Hook) error { return h.SetWeight("a", 9) }, multidb.ReasonFailback},
		{"to and fro", func(h *multidb.Hook) error { return errors.Join(h.SetWeight("a", 1), h.SetWeight("a", 3)) }, multidb.ReasonFailback},
		{"it is the weight", func(h *multidb.Hook) error { return h.SetWeight("c", 9) }, multidb.ReasonWeight},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second}}
			switches := recordSwitches(&opt)
			bubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
				dbs[0].Up.Store(false)
				time.Sleep(5 * time.Second)
				require.NoError(t, c.weigh(h))
				time.Sleep(time.Minute)
				dbs[0].Up.Store(true)
				time.Sleep(time.Minute)
			})
			list := switches.list()
			require.Len(t, list, 2)
			require.Equal(t, multidb.ReasonHealthCheck, list[0].Reason)
			require.Equal(t, c.reason, list[1].Reason)
		})
	}
}

// Events: many processes lose a database at one instant. Without jitter all of them return to it at one instant. (Until now
// nothing failed if there was none.)
func TestGraceHasJitter(t *testing.T) {
	returned := make(map[time.Duration]bool)
	for range 8 {
		bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: 100 * time.Second}}, func(h *multidb.Hook, dbs []*virtual.DB) {
			dbs[0].Up.Store(false)
			time.Sleep(3 * time.Second)
			dbs[0].Up.Store(true)
			until(time.Minute, func() bool { return h.Stats().Databases[0].Breaker == multidb.BreakerClosed })
			said := h.Stats().Databases[0].GracePeriod
			took := until(time.Hour, func() bool { return h.Active() == "a" })
			assert.GreaterOrEqual(t, said, 100*time.Second)
			assert.LessOrEqual(t, said, 120*time.Second, "Failback.Jitter is 0.2 by default")
			assert.InDelta(t, said, took, float64(6*time.Second), "and a round of checks")
			returned[said] = true
		})
	}
	require.Greater(t, len(returned), 4, "the grace periods of eight processes")
}

// Events: a database is down when the process starts. It comes up minutes later, and is returned to by the next check,
// without a grace period, because it had not been usable before and so had not failed.
func TestGraceAtTheStart(t *testing.T) {
	const grace = 30 * time.Second
	opt := multidb.Options{Failback: multidb.Failback{GracePeriod: grace, Jitter: -1}}
	startBubble(t, 2, opt, func(dbs []*virtual.DB, _ []multidb.Database) { dbs[0].Up.Store(false) }, func(h *multidb.Hook, dbs []*virtual.DB) {
		assert.Equal(t, "b", h.Active())
		time.Sleep(5 * time.Minute)
		dbs[0].Up.Store(true)
		took := until(time.Hour, func() bool { return h.Active() == "a" })
		assert.GreaterOrEqual(t, took, grace)
		assert.LessOrEqual(t, took, grace+10*time.Second)
	})
}
