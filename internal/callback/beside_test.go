package callback

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ignoring is a function that does not heed its context: it returns when it is released.
func ignoring(release chan struct{}, returned *atomic.Int64) func() (int, error) {
	return func() (int, error) {
		<-release
		returned.Add(1)
		return 7, nil
	}
}

func TestBesideWaitsNoLongerThanTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Strays
		var returned atomic.Int64
		release, late := make(chan struct{}), make(chan int, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := Beside(ctx, &s, ignoring(release, &returned), func(n int) { late <- n })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second+defaultPatience, time.Since(began))
		require.Equal(t, 1, s.Left())
		close(release)
		require.Equal(t, 7, <-late, "what it returns in the end")
		synctest.Wait()
		require.Zero(t, s.Left())
	})
}

// TestBesideHearsWhoHeedsTheContext: the error of the function says more than that of the context.
func TestBesideHearsWhoHeedsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := errors.New("cut short")
		var s Strays
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Beside(ctx, &s, func() (int, error) {
			<-ctx.Done()
			time.Sleep(defaultPatience / 2)
			return 0, own
		}, func(int) {})
		require.Equal(t, own, err)
		require.Zero(t, s.Left())
	})
}

// TestStraysAreBounded: many functions that never return are as many as there may be, and one more at times, for what they hang on
// may be well again.
func TestStraysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Strays
		var returned atomic.Int64
		release := make(chan struct{})
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := Beside(ctx, &s, ignoring(release, &returned), func(int) {})
			return err
		}
		for range maxStrays {
			require.ErrorIs(t, call(), context.DeadlineExceeded)
		}
		require.ErrorIs(t, call(), context.DeadlineExceeded, "the first one beyond")
		for range 100 {
			require.Equal(t, errStrays, call())
		}
		require.Equal(t, maxStrays+1, s.Left())
		time.Sleep(strayPause)
		require.ErrorIs(t, call(), context.DeadlineExceeded)
		require.Equal(t, errStrays, call())
		close(release)
		synctest.Wait()
		require.EqualValues(t, maxStrays+2, returned.Load())
		require.Zero(t, s.Left())
		n, err := Beside(t.Context(), &s, ignoring(release, &returned), func(int) {})
		require.NoError(t, err)
		require.Equal(t, 7, n)
	})
}

func TestPanicReachesWhoWaits(t *testing.T) {
	var s Strays
	require.PanicsWithValue(t, "own", func() {
		_, _ = Beside(t.Context(), &s, func() (int, error) { panic("own") }, func(int) {})
	})
}
