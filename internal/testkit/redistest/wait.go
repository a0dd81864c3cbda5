package redistest

import (
	"testing"
	"time"
)

// Eventually waits for a condition with a bound, and fails the test with what it waited for. Call it from the
// goroutine of the test.
func Eventually(tb testing.TB, within time.Duration, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(within); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s, within %v", what, within)
		}
	}
}
