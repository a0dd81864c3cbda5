package traffic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Thirty connections are lost at once and are one failure. Five that are made after that and lost again are five. A second later the
// same may happen again.
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
	now = now.Add(time.Second)
	require.Equal(t, 1, lose(30, 30))
}
