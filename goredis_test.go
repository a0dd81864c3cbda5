package multidb

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGoRedisLeavesAlone: the version that this package is tested with does, and one that did not would be found out: a bare
// error is sent again as often as the client's MaxRetries says.
func TestGoRedisLeavesAlone(t *testing.T) {
	require.Equal(t, leavesAlone{noRetry: true, noRetryNet: true}, goRedisLeavesAlone())
	require.Equal(t, 4, timesSent(func() error { return io.EOF }))
	require.Equal(t, 4, timesSent(func() error { return lateError{} }))
}

func BenchmarkGoRedisLeavesAlone(b *testing.B) {
	for b.Loop() {
		timesSent(func() error { return &noRetryError{err: io.EOF} })
	}
}
