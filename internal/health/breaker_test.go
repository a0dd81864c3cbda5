package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/virtual"
)

// Events: the health loop sees an open breaker; before it asks for the permit of a trial, a method of control closes it. A
// closed breaker permits everything, so the trial was made: its success told "closed" a second time, its failure opened the
// breaker of a usable database without an event, and without a look at what follows from it.
func TestClosedBreakerIsNotTried(t *testing.T) {
	bubble(t, func(h *Health, _ *lone, _ *virtual.DB) {
		_, wait := (&loop{h}).permit()
		require.Positive(t, wait)
		h.Trip(h.Generation(), Outage{Cause: virtual.ErrUnreachable})
		_, wait = (&loop{h}).permit()
		require.Positive(t, wait, "its delay has just begun")
		require.False(t, h.Usable())
		time.Sleep(wait + 100*time.Millisecond) // the health loop takes the permit in that very moment
		require.True(t, h.Usable(), "the trial is made once the delay is over")
	})
}

// Events: a check of a half-open database is under way when ForceActive closes the breaker, and fails.
func TestFailureOfAnEarlierCheckIsVoid(t *testing.T) {
	bubble(t, func(h *Health, _ *lone, _ *virtual.DB) {
		h.Trip(h.Generation(), Outage{Cause: virtual.ErrUnreachable})
		before := h.Generation()
		h.Force()
		require.False(t, (&loop{h}).recordTrial(before, virtual.ErrUnreachable))
		require.True(t, h.Usable())
		require.NoError(t, h.Snapshot().LastError)
	})
}

// TestLateResultIsVoid: what a round finds out about a state of the breaker that is over has no consequence.
func TestLateResultIsVoid(t *testing.T) {
	bubble(t, func(h *Health, _ *lone, _ *virtual.DB) {
		for _, kind := range []runKind{routineRun, halfOpenRun} {
			(&loop{h}).finish(&checkRun{kind: kind, generation: h.Generation() - 1, cancel: func() {}}, virtual.ErrUnreachable)
			require.True(t, h.Usable(), "kind %d", kind)
		}
		(&loop{h}).finish(&checkRun{kind: routineRun, generation: h.Generation(), cancel: func() {}}, virtual.ErrUnreachable)
		require.False(t, h.Usable(), "one that is not late does")
	})
}

// Every change is told once, in its order, and a decision is asked for after it.
func TestAnOutageIsToldAndReviewed(t *testing.T) {
	bubble(t, func(h *Health, fleet *lone, db *virtual.DB) {
		require.Equal(t, []State{Closed}, fleet.told())
		before := fleet.reviews.Load()
		db.Up.Store(false)
		<-h.Suspect(virtual.ErrUnreachable)
		require.False(t, h.Usable())
		require.Greater(t, fleet.reviews.Load(), before)
		require.Positive(t, fleet.asked.Load(), "the others were asked beside it")
		db.Up.Store(true)
		time.Sleep(5 * time.Second)
		require.Equal(t, []State{Closed, Open, Closed}, fleet.told())
	})
}

// TestGraceDecays: a database that has behaved for the longest grace period is trusted as before.
func TestGraceDecays(t *testing.T) {
	g := newGrace(GraceRule{Period: time.Second, Factor: 2, Max: time.Minute})
	now := time.Now()
	var periods []time.Duration
	for _, wait := range []time.Duration{0, time.Second, time.Second, time.Second, time.Hour, time.Second} {
		now = now.Add(wait)
		g.relapsed(now)
		periods = append(periods, g.period/time.Second)
	}
	require.Equal(t, []time.Duration{1, 2, 4, 8, 1, 2}, periods)
	for range 20 {
		g.relapsed(now)
	}
	require.Equal(t, time.Minute, g.period, "capped")
}
