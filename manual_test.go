package multidb

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// Events: ForceActive("west", d); its timer fires while the selector is busy; ForceActive("east", 0) comes in between.
// The old timer's Release then ends the NEW manual choice.
func TestTimerOfAnEarlierChoiceLeavesTheNewOne(t *testing.T) {
	east, west := redistest.Start(t), redistest.Start(t)
	h := newHook(t, Options{
		// A machine may be so busy that a healthy server does not answer for half a second.
		Health: Health{Timeout: 10 * time.Second, StallTimeout: -1, Checks: []probes.Check{{Probe: probes.Ping(), Probes: 1, Timeout: 10 * time.Second}}},
		Databases: []Database{
			{Name: "east", URL: "redis://" + east.Addr()}, {Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
		},
	})
	lost := 0
	for range 200 {
		require.NoError(t, h.ForceActive("west", time.Millisecond))
		h.selector.Mutex().Lock() // anything: Stats, a review
		time.Sleep(1200 * time.Microsecond)
		go func() { time.Sleep(200 * time.Microsecond); h.selector.Mutex().Unlock() }()
		require.NoError(t, h.ForceActive("east", 0))
		time.Sleep(2 * time.Millisecond)
		if h.Stats().Held != "east" {
			lost++
		}
		h.Release()
	}
	require.Zero(t, lost, "manual choices without a time limit that were dropped by the timer of an earlier one")
}
