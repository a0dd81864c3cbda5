package multidb

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How a switch is made, by whom, and what it does to connections: regressions of control.go and switch.go.

// Events: SetActive has asked the database and waits for those who prepare; the database dies, its health loop opens the
// breaker, and its review finds nothing to do, because it is not active. The choice is then published all the same, and
// nobody looks again: the hook stays on a dead database for ever.
func TestRegressionSetActiveDiesWhilePreparing(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, dbs []*virtual) {
		defer h.OnPrepare(func(ctx context.Context, _ string) {
			dbs[1].up.Store(false)
			h.Report("b", errUnreachable) // what pubsubwrap does when its connection to the new database fails
			<-ctx.Done()
		})()
		require.ErrorContains(t, h.SetActive(context.Background(), "b"), "not healthy")
		require.Equal(t, "a", h.Active())
		require.Empty(t, h.Stats().Held)
	})
}

// Events: ForceActive to a database that is down. It closes the breaker, and a check that had begun before records its
// failure on the closed breaker, which opens, silently: the hook stays on a dead database for ever.
func TestRegressionForceActiveIsUndoneByEvidence(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, dbs []*virtual) {
		dbs[1].up.Store(false)
		time.Sleep(10 * time.Second)
		defer h.OnPrepare(func(ctx context.Context, _ string) { <-ctx.Done() })()
		for i := range 20 {
			require.NoError(t, h.ForceActive("b", 0))
			require.Equal(t, "b", h.Active())
			require.Equal(t, BreakerClosed, h.Stats().Databases[1].Breaker)
			took := until(time.Minute, func() bool { return h.Active() == "a" })
			require.LessOrEqual(t, took, 2*time.Second, "round %d", i)
			require.Empty(t, h.Stats().Held)
			time.Sleep(time.Duration(i*137) * time.Millisecond)
		}
	})
}

// Events: a check of a half-open database is under way when ForceActive closes the breaker, and fails.
func TestRegressionFailureOfAnEarlierCheckIsVoid(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, _ []*virtual) {
		b := h.selector.find("b")
		h.condemn(b, ReasonHealthCheck, errUnreachable)
		turns := b.turned()
		require.NoError(t, h.ForceActive("b", 0))
		require.False(t, h.tried(b, turns, errUnreachable))
		require.True(t, b.usable())
		require.NoError(t, b.lastErr)
	})
}
