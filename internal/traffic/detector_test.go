package traffic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/window"
)

// TestSlowIsAShareOfReplies: a reply that is counted as slow a moment before it is counted waits for the next sample.
func TestSlowIsAShareOfReplies(t *testing.T) {
	j := newDetector(window.NewSlow(window.SlowConfig{Bound: time.Millisecond})())
	j.slow.Store(3)
	require.Equal(t, window.Sample{Successes: 2, Failures: 1, Slow: 2}, j.sample(9, 1, 2))
	require.Equal(t, window.Sample{Successes: 4, Slow: 1}, j.sample(9, 0, 4))
	untimed := newDetector(window.NewFailureRate(window.Config{})())
	require.Equal(t, window.Sample{Successes: 9, Failures: 1}, untimed.sample(9, 1, 2))
}
