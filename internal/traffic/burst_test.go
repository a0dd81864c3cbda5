package traffic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Thirty connections are lost at once and are one failure. Five that are made after that and lost again are five. Some seconds
// later the same may happen again.
func TestConnectionsLostAtOnceAreOneFailure(t *testing.T) {
	var b burst
	now := time.Now()
	lose := func(n, open int) (counted int) {
		for range n {
			if !b.PartOfBurst(now, open) {
				counted++
			}
		}
		return counted
	}
	require.Equal(t, 1, lose(30, 30))
	now = now.Add(100 * time.Millisecond)
	require.Equal(t, 5, lose(5, 30))
	now = now.Add(burstTime + burstCalm)
	require.Equal(t, 1, lose(30, 30))
}

// A pool has 100 connections, and each tenth of a second one is lost: a proxy closes those over which somebody writes. Most of the
// others stand and nobody uses them. That was counted once a second, so no detector has ever seen an outage.
func TestConnectionsLostOneByOneAreAnOutage(t *testing.T) {
	var b burst
	now, counted := time.Now(), 0
	for range 50 { // 5 s
		if !b.PartOfBurst(now, 100) {
			counted++
		}
		now = now.Add(100 * time.Millisecond)
	}
	require.GreaterOrEqual(t, counted, 35)
}
