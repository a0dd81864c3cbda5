package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// halfOpenCheckOf waits until a half-open check of a database is under way and waits for an answer.
func halfOpenCheckOf(h *multidb.Hook, name string) {
	for h.Active() == name || stateOf(h, name) != multidb.BreakerHalfOpen {
		time.Sleep(10 * time.Millisecond)
	}
}

// Events: a hangs and b takes over; a half-open check of a waits for an answer; an operator forces a, which closes its
// breaker; the check fails. Its failure was recorded in the closed breaker, which opened without an event and without a
// decision: the hook sat on the dead database for ever.
func TestLateCheckIsVoidAfterForceActive(t *testing.T) {
	hangingBubble(t, 2, multidb.Options{}, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
		dbs[0].Up.Store(false)
		halfOpenCheckOf(h, "a")
		require.NoError(t, h.ForceActive("a", 0))
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			require.False(t, h.Active() == "a" && !usable(h, "a"), "the database in use has an open breaker, and nobody was told")
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
func TestLateCheckIsVoidAfterSetActive(t *testing.T) {
	opt := multidb.Options{}
	switches := recordSwitches(&opt)
	hangingBubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB, _ *redis.Client) {
		dbs[0].Up.Store(false)
		halfOpenCheckOf(h, "a")
		dbs[0].Up.Store(true)
		require.NoError(t, h.SetActive(context.Background(), "a"))
		for range 150 {
			time.Sleep(10 * time.Millisecond)
			require.True(t, usable(h, "a"), "the database that was just found healthy has an open breaker")
		}
		dbs[2].Up.Store(false) // a passive database, of no importance
		time.Sleep(10 * time.Second)
		require.Equal(t, "a", h.Active())
		require.Len(t, switches.list(), 2, "away from a, and back by hand")
	})
}

// Verdicts that are void, because the breaker they are about has turned since the question was asked.

// Events: SetActive asks b: PING passes, and a gate, an API, takes its time; b dies and its breaker opens; the API answers
// that all is well. The breaker of a dead database was closed by that, and it was made active.
func TestSetActiveTrustsNoAnswerFromBeforeTheFailure(t *testing.T) {
	type asked struct{}
	var asking atomic.Bool
	gate := slowly(func(ctx context.Context, db probes.Target) error {
		if ctx.Value(asked{}) == nil || db.Name != "b" {
			return nil
		}
		asking.Store(true)
		return nineSeconds(ctx)
	})
	gate.Probe = probes.Gate(gate.Probe)
	bubble(t, 2, multidb.Options{Health: multidb.Health{Checks: []probes.Check{ping(), gate}}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		done := make(chan error, 1)
		go func() { done <- h.SetActive(context.WithValue(context.Background(), asked{}, true), "b") }()
		until(time.Second, asking.Load)
		dbs[1].Up.Store(false)
		h.Report("b", virtual.ErrUnreachable)
		until(time.Second, func() bool { return !usable(h, "b") })
		require.ErrorContains(t, <-done, "connection refused")
		require.False(t, usable(h, "b"), "it does not answer")
		require.Equal(t, "a", h.Active())
	})
}

// lateDetector says "failing" a second after it was asked, once.
type lateDetector struct{ armed *atomic.Bool }

func (lateDetector) Record(time.Time, window.Sample) {}

func (lateDetector) Reset() {}

func (d lateDetector) Verdict(time.Time) window.Verdict {
	if !d.armed.CompareAndSwap(true, false) {
		return window.Verdict{}
	}
	time.Sleep(time.Second)
	return window.Verdict{Failing: true, Reason: "late"}
}

// Events: a detector sees that a fails; before that is acted on, a is left for its probes, comes back, and an operator
// forces it. The detector's verdict of before undid the forced choice.
func TestLateVerdictOfADetectorIsVoid(t *testing.T) {
	var armed atomic.Bool
	opt := multidb.Options{Detectors: []window.Factory{func() window.Detector { return lateDetector{&armed} }}}
	bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		armed.Store(true)
		until(time.Second, func() bool { return !armed.Load() })
		dbs[0].Up.Store(false)
		h.Report("a", virtual.ErrUnreachable)
		until(time.Second, func() bool { return h.Active() == "b" })
		dbs[0].Up.Store(true)
		require.NoError(t, h.ForceActive("a", 0))
		time.Sleep(2 * time.Second)
		require.True(t, usable(h, "a"), "it has answered ever since")
		require.Equal(t, "a", h.Active())
	})
}
