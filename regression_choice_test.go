package multidb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/probes"
)

// What is chosen, when, and why: regressions of the selector and of the health loops.

// startBubble is bubble with the state of the databases before the hook is made in the hands of the test.
func startBubble(t *testing.T, n int, opt Options, before func(dbs []*virtual, specs []Database), f func(h *Hook, dbs []*virtual)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, n)
		before(dbs, specs)
		opt.Databases = specs
		if opt.Logger == nil {
			opt.Logger = testLog(t)
		}
		h, err := New(t.Context(), opt)
		require.NoError(t, err)
		f(h, dbs)
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.redis.Close()
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

// Events: a switch makes a passive database the active one. The timer of its health loop was set at the passive pace, up
// to an interval before the next look. Nobody sends commands (a process that only subscribes), and it dies: nobody asks it
// for up to 5 s, although the active database is promised to be asked every second.
func TestRegressionNewActiveIsProbedEverySecond(t *testing.T) {
	for offset := range 10 {
		bubble(t, 2, Options{}, func(h *Hook, dbs []*virtual) {
			time.Sleep(10*time.Second + time.Duration(offset)*500*time.Millisecond)
			require.NoError(t, h.ForceActive("b", 0))
			dbs[1].up.Store(false)
			took := until(time.Minute, func() bool { return h.Active() == "a" })
			require.LessOrEqual(t, took, 1100*time.Millisecond, "offset %d", offset)
		})
	}
}

// Events: the same for the first choice, if that is not the first database of the configuration.
func TestRegressionFirstActiveIsProbedEverySecond(t *testing.T) {
	for last := range 4 {
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			startBubble(t, 4, Options{}, func(_ []*virtual, specs []Database) { specs[last].Weight = 10 }, func(h *Hook, dbs []*virtual) {
				name := string(rune('a' + last))
				require.Equal(t, name, h.Active())
				dbs[last].up.Store(false)
				took := until(time.Minute, func() bool { return h.Active() != name })
				require.LessOrEqual(t, took, 1100*time.Millisecond)
			})
		})
	}
}

// Events: a verdict opens the breaker of a database; before its event is in the queue, a check closes it and puts in its
// own. A listener is told "closed", then "open", of a database that is usable.
func TestRegressionHealthEventsAreInOrder(t *testing.T) {
	var wrong []string
	state := map[string]BreakerState{}
	opt := Options{Failback: Failback{GracePeriod: -1}, Logger: slog.New(slog.DiscardHandler)}
	opt.Events.OnHealth = func(c HealthChange) {
		if state[c.Database] == c.State {
			wrong = append(wrong, fmt.Sprint(c.Database, " is ", c.State, " already"))
		}
		state[c.Database] = c.State
	}
	startBubble(t, 3, opt, func([]*virtual, []Database) {}, func(h *Hook, _ []*virtual) {
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			db := h.selector.find(name)
			for range 4 {
				wg.Go(func() {
					for range 500 {
						h.trip(db, db.currentGeneration(), ReasonHealthCheck, errUnreachable)
						h.restore(db, db.currentGeneration())
					}
				})
			}
		}
		wg.Wait()
	})
	if len(wrong) > 0 {
		t.Errorf("%d times, e.g. %v", len(wrong), wrong[:min(3, len(wrong))])
	}
}

// Events: the health loop sees an open breaker; before it asks for the permit of a trial, a method of control closes it. A
// closed breaker permits everything, so the trial was made: its success told "closed" a second time, its failure opened the
// breaker of a usable database without an event, and without a look at what follows from it.
func TestRegressionTrialOfAClosedBreaker(t *testing.T) {
	bubble(t, 2, Options{}, func(h *Hook, _ []*virtual) {
		db := h.selector.find("b")
		_, wait := db.permit()
		require.Positive(t, wait)
		h.trip(db, db.currentGeneration(), ReasonHealthCheck, errUnreachable)
		_, wait = db.permit()
		require.Positive(t, wait, "its delay has just begun")
		time.Sleep(wait)
		_, wait = db.permit()
		require.Zero(t, wait)
	})
}

// Events: a verdict opens the breaker of the active database; before its event is in the queue, the health loop of another
// database reviews and switches. A listener is told of the switch before the failure that it was made for.
func TestRegressionFailureIsToldBeforeItsSwitch(t *testing.T) {
	var told []string
	opt := Options{Failback: Failback{GracePeriod: -1}, Logger: slog.New(slog.DiscardHandler)}
	opt.Events.OnHealth = func(c HealthChange) { told = append(told, c.Database+" "+string(c.State)) }
	opt.Events.OnSwitch = func(s Switch) { told = append(told, s.From+" to "+s.To) }
	startBubble(t, 2, opt, func([]*virtual, []Database) {}, func(h *Hook, _ []*virtual) {
		a := h.selector.find("a")
		synctest.Wait()
		told = nil
		for range 300 {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for h.Active() == "a" {
						h.selector.review()
					}
				})
			}
			h.trip(a, a.currentGeneration(), ReasonHealthCheck, errUnreachable)
			wg.Wait()
			h.restore(a, a.currentGeneration())
			_ = h.ForceActive("a", 0)
			synctest.Wait()
			if !assert.Equal(t, []string{"a open", "a to b", "a closed", "b to a"}, told) {
				return
			}
			told = nil
		}
	})
}

// Events: SetWeight makes the active database the last of three. The two others are compared with it one by one, and
// whichever is checked first wins: the move goes to the second best, and a second one to the best.
func TestRegressionPlannedMoveGoesToTheBest(t *testing.T) {
	for range 20 {
		opt := Options{}
		switches := recordSwitches(&opt)
		bubble(t, 4, opt, func(h *Hook, _ []*virtual) {
			require.NoError(t, h.SetWeight("a", 0.5))
			time.Sleep(time.Minute)
		})
		require.Len(t, switches.list(), 1)
		require.Equal(t, "b", switches.list()[0].To)
	}
}

// gateAgainst is a probe that only gates, and keeps out the database of that name.
type gateAgainst string

func (g gateAgainst) GatesOnly() bool { return true }
func (g gateAgainst) Check(_ context.Context, target probes.Target) error {
	if target.Name == string(g) {
		return errors.New("lags behind")
	}
	return nil
}

// Events: the best database is kept out by a check that only gates. It must not stand in the way of the second best.
func TestRegressionGatedDatabaseDoesNotBlockTheNext(t *testing.T) {
	opt := Options{}
	switches := recordSwitches(&opt)
	gate := probes.Check{Probe: gateAgainst("b"), Probes: 1}
	opt.Health.Checks = []probes.Check{{Probe: probes.Ping(), Probes: 1}, gate}
	bubble(t, 3, opt, func(h *Hook, _ []*virtual) {
		require.NoError(t, h.SetWeight("a", 0.5))
		time.Sleep(time.Minute)
		require.Equal(t, "c", h.Active())
	})
	require.Len(t, switches.list(), 1)
}

// Events: a failure detector condemns the active database; before its review, the health loop of another database reviews.
// The switch is said to be for a health check, without a cause.
func TestRegressionReasonAndCauseOfASwitchAreItsOwn(t *testing.T) {
	opt := Options{}
	switches := recordSwitches(&opt)
	boom, other := errors.New("boom"), errors.New("other")
	var down error
	opt.Events.OnAllDown = func(cause error) { down = cause }
	bubble(t, 3, opt, func(h *Hook, dbs []*virtual) {
		h.openBreaker(h.selector.find("a"), h.selector.find("a").currentGeneration(), ReasonFailureDetector, boom)
		h.restore(h.selector.find("c"), h.selector.find("c").currentGeneration())
		time.Sleep(time.Millisecond)
		require.Equal(t, "b", h.Active())
		require.Equal(t, ReasonFailureDetector, h.Choice().Reason)

		// The end of an outage at another place is a switch for the failure that began the outage.
		dbs[0].up.Store(false)
		h.openBreaker(h.selector.find("c"), h.selector.find("c").currentGeneration(), ReasonHealthCheck, errUnreachable)
		h.openBreaker(h.selector.find("b"), h.selector.find("b").currentGeneration(), ReasonHealthCheck, other)
		dbs[1].up.Store(false) // so that c is the first to be back
		h.selector.review()
		h.restore(h.selector.find("c"), h.selector.find("c").currentGeneration())
		time.Sleep(time.Millisecond)
	})
	require.ErrorIs(t, down, other)
	list := switches.list()
	require.Len(t, list, 2)
	require.Equal(t, ReasonFailureDetector, list[0].Reason)
	require.ErrorIs(t, list[0].Cause, boom)
	require.Equal(t, Switch{From: "b", To: "c", Reason: ReasonHealthCheck, Cause: list[1].Cause, Took: list[1].Took}, list[1])
	require.ErrorIs(t, list[1].Cause, other)
}

// Events: a failover; SetWeight that changes nothing about who is preferred; the return. It is said to be for the weight.
func TestRegressionReasonWeightIsForItsEffect(t *testing.T) {
	for _, c := range []struct {
		name   string
		weigh  func(h *Hook) error
		reason Reason
	}{
		{"no effect", func(h *Hook) error { return h.SetWeight("c", 0.9) }, ReasonFailback},
		{"even more so", func(h *Hook) error { return h.SetWeight("a", 9) }, ReasonFailback},
		{"to and fro", func(h *Hook) error { return errors.Join(h.SetWeight("a", 1), h.SetWeight("a", 3)) }, ReasonFailback},
		{"it is the weight", func(h *Hook) error { return h.SetWeight("c", 9) }, ReasonWeight},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := Options{Failback: Failback{GracePeriod: time.Second}}
			switches := recordSwitches(&opt)
			bubble(t, 3, opt, func(h *Hook, dbs []*virtual) {
				dbs[0].up.Store(false)
				time.Sleep(5 * time.Second)
				require.NoError(t, c.weigh(h))
				time.Sleep(time.Minute)
				dbs[0].up.Store(true)
				time.Sleep(time.Minute)
			})
			list := switches.list()
			require.Len(t, list, 2)
			require.Equal(t, ReasonHealthCheck, list[0].Reason)
			require.Equal(t, c.reason, list[1].Reason)
		})
	}
}

// Events: many processes lose a database at one instant. Without jitter all of them return to it at one instant. (Until now
// nothing failed if there was none.)
func TestRegressionGraceHasJitter(t *testing.T) {
	returned := make(map[time.Duration]bool)
	for range 8 {
		bubble(t, 2, Options{Failback: Failback{GracePeriod: 100 * time.Second}}, func(h *Hook, dbs []*virtual) {
			dbs[0].up.Store(false)
			time.Sleep(3 * time.Second)
			dbs[0].up.Store(true)
			until(time.Minute, func() bool { return h.Stats().Databases[0].Breaker == BreakerClosed })
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
func TestRegressionGraceAtTheStart(t *testing.T) {
	const grace = 30 * time.Second
	opt := Options{Failback: Failback{GracePeriod: grace, Jitter: -1}}
	startBubble(t, 2, opt, func(dbs []*virtual, _ []Database) { dbs[0].up.Store(false) }, func(h *Hook, dbs []*virtual) {
		assert.Equal(t, "b", h.Active())
		time.Sleep(5 * time.Minute)
		dbs[0].up.Store(true)
		took := until(time.Hour, func() bool { return h.Active() == "a" })
		assert.GreaterOrEqual(t, took, grace)
		assert.LessOrEqual(t, took, grace+10*time.Second)
	})
}
