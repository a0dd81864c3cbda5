package wait

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoffDoublesUpToTheMost(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 5, 1: 10, 2: 20, 6: 320, 7: 500, 1000: 500} {
		require.Equal(t, want, Backoff(failures, 5, 500), "%d", failures)
	}
}

func TestForEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	require.True(t, For(ctx, time.Microsecond))
	require.True(t, For(ctx, -1))
	cancel()
	require.False(t, For(ctx, time.Hour))
	require.False(t, For(ctx, 0))
}
