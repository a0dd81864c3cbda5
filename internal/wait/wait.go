// Package wait holds the two ways to wait: for a while, and ever longer.
package wait

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends. It reports whether ctx goes on.
func For(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// Backoff returns how long to wait after so many failures before: least after none, doubled with each, at most most.
func Backoff(failures int, least, most time.Duration) time.Duration {
	for ; failures > 0 && least < most; failures-- {
		least *= 2
	}
	return min(least, most)
}
