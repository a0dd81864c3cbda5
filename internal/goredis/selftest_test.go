package goredis

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSelfTest: the version that this package is tested with does, and one that did not would be found out: a bare
// error is sent again as often as the client's MaxRetries says.
func TestSelfTest(t *testing.T) {
	require.Equal(t, outcomes{noRetry: true, noRetryNet: true}, leavesAlone())
	require.Equal(t, 4, timesSent(func() error { return io.EOF }))
	require.Equal(t, 4, timesSent(func() error { return lateError{} }))
}

func BenchmarkSelfTest(b *testing.B) {
	for b.Loop() {
		timesSent(func() error { return &NoRetryError{err: io.EOF} })
	}
}
