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
	"github.com/redishook/multidb/window"
)

// Verdicts that are void, because the breaker they are about has turned since the question was asked.

// Events: SetActive asks b: PING passes, and a gate, an API, takes its time; b dies and its breaker opens; the API answers
// that all is well. The breaker of a dead database was closed by that, and it was made active.
func TestRegressionSetActiveTrustsWhatItHeardBeforeTheFailure(t *testing.T) {
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
	bubble(t, 2, Options{Health: Health{Checks: []probes.Check{ping(), gate}}}, func(h *Hook, dbs []*virtual) {
		done := make(chan error, 1)
		go func() { done <- h.SetActive(context.WithValue(context.Background(), asked{}, true), "b") }()
		until(time.Second, asking.Load)
		dbs[1].up.Store(false)
		h.Report("b", errUnreachable)
		b := h.selector.find("b")
		until(time.Second, func() bool { return !b.usable() })
		require.ErrorContains(t, <-done, "connection refused")
		require.False(t, b.usable(), "it does not answer")
		require.Equal(t, "a", h.Active())
	})
}

// lateDetector says "failing" a second after it was asked, once.
type lateDetector struct{ armed *atomic.Bool }

func (lateDetector) Record(time.Time, window.Sample) {}
func (lateDetector) Reset()                          {}
func (d lateDetector) Verdict(time.Time) window.Verdict {
	if !d.armed.CompareAndSwap(true, false) {
		return window.Verdict{}
	}
	time.Sleep(time.Second)
	return window.Verdict{Failing: true, Reason: "late"}
}

// Events: a detector sees that a fails; before that is acted on, a is left for its probes, comes back, and an operator
// forces it. The detector's verdict of before undid the forced choice.
func TestRegressionVerdictOfBeforeUndoesForcedChoice(t *testing.T) {
	var armed atomic.Bool
	opt := Options{Detectors: []window.Factory{func() window.Detector { return lateDetector{&armed} }}}
	bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
		a := h.selector.find("a")
		armed.Store(true)
		until(time.Second, func() bool { return !armed.Load() })
		dbs[0].up.Store(false)
		h.Report("a", errUnreachable)
		until(time.Second, func() bool { return h.Active() == "b" })
		dbs[0].up.Store(true)
		require.NoError(t, h.ForceActive("a", 0))
		time.Sleep(2 * time.Second)
		require.True(t, a.usable(), "it has answered ever since")
		require.Equal(t, "a", h.Active())
	})
}

// Events: a is suspected and its probes are lost; meanwhile its traffic has it condemned, it recovers, and an operator forces
// it; the time of the lost probes is over. A usable database was condemned for what was asked before it had failed.
func TestRegressionProbesOfBeforeUndoForcedChoice(t *testing.T) {
	hangingBubble(t, 2, Options{}, func(h *Hook, dbs []*virtual, _ *redis.Client) {
		a := h.selector.find("a")
		dbs[0].up.Store(false)
		h.Report("a", errors.New("reset"))
		time.Sleep(300 * time.Millisecond)
		h.tripByTraffic(a, a.currentGeneration(), window.Verdict{Failing: true, Reason: "many"})
		require.Equal(t, "b", h.Active())
		dbs[0].up.Store(true)
		require.NoError(t, h.ForceActive("a", 0))
		time.Sleep(time.Second)
		require.Equal(t, "a", h.Active())
	})
}
