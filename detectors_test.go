package multidb

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/internal/traffic"
	"github.com/redishook/multidb/window"
)

// Events: b is left while it is slow; replies that were slow come in when nobody asks about b any more (a drain); later b is
// made active. They were told to its detectors then, after those had been made to forget, and b was left at once.
func TestRepliesOfADrainDoNotCountAfterTheReturn(t *testing.T) {
	opt := Options{Detectors: []window.Factory{window.NewSlow(window.SlowConfig{Bound: 50 * time.Millisecond})}}
	bubble(t, 2, opt, func(h *Hook, _ []*virtual.DB) {
		b := h.selector.Find("b")
		for range 100 {
			b.Traffic.Replied(time.Second)
			b.Traffic.Succeeded()
		}
		require.NoError(t, h.SetActive(context.Background(), "b"))
		time.Sleep(time.Second)
		require.Equal(t, "b", h.Active())
		require.EqualValues(t, 100, h.Stats().Databases[1].Successes, "in the statistics they stay")
	})
}

// forgetful counts what a detector is told.
type forgetful struct{ failures, resets *atomic.Int64 }

func (f forgetful) Record(_ time.Time, s window.Sample) { f.failures.Add(int64(s.Failures)) }

func (f forgetful) Verdict(time.Time) window.Verdict { return window.Verdict{} }

func (f forgetful) Reset() { f.failures.Store(0); f.resets.Add(1) }

// Events: traffic fails on a, but not enough for a verdict; an operator moves to b and back to a at once. The detector of a
// still had the failures from before: the contract is that it forgets when its database becomes active.
func TestManualMoveForgetsOldFailures(t *testing.T) {
	var made []forgetful
	opt := Options{Detectors: []window.Factory{func() window.Detector {
		f := forgetful{new(atomic.Int64), new(atomic.Int64)}
		made = append(made, f)
		return f
	}}}
	bubble(t, 2, opt, func(h *Hook, _ []*virtual.DB) {
		a := made[len(made)-2]
		h.selector.Find("a").Health.Failed(virtual.ErrUnreachable)
		require.EqualValues(t, 1, a.failures.Load())
		require.NoError(t, h.SetActive(context.Background(), "b"))
		before := a.resets.Load()
		require.NoError(t, h.SetActive(context.Background(), "a"))
		require.EqualValues(t, before+1, a.resets.Load())
		require.Zero(t, a.failures.Load())
		require.NoError(t, h.ForceActive("b", 0))
		require.NoError(t, h.ForceActive("a", 0))
		require.EqualValues(t, before+2, a.resets.Load())
	})
}

type panicDetector struct{}

func (panicDetector) Record(time.Time, window.Sample) { panic("boom") }

func (panicDetector) Verdict(time.Time) (v window.Verdict) { return v }

func (panicDetector) Reset() {}

// Events: a user's failure detector (window.Factory is an option) panics in Record. Strategies, probes and callbacks are
// contained; a detector's panic comes out of the hook's own monitor goroutine and ends the process.
func TestPanickingDetectorIsContained(t *testing.T) {
	all := traffic.New([]window.Factory{func() window.Detector { return panicDetector{} }})
	require.NotPanics(t, func() { all.Sample(1) }) // what monitor calls every 100 ms
}
