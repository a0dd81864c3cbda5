package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

func TestChoiceCountsSwitches(t *testing.T) {
	p := pair.New(t, nil)
	first := p.Hook.Choice()
	require.Equal(t, "east", first.Database)
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	select {
	case <-first.Over():
	default:
		require.FailNow(t, "the first choice is not over")
	}
	second := p.Hook.Choice()
	require.Equal(t, "west", second.Database)
	require.Equal(t, first.Number+1, second.Number)
	require.Equal(t, multidb.ReasonManual, second.Reason)
	require.True(t, second.Planned)
	require.True(t, second.At.After(first.At) && !second.At.After(time.Now()))
	require.Equal(t, multidb.ReplayRead, p.Hook.RungOf(redis.NewCmd(t.Context(), "get", "k")))
}

// TestPlannedSwitchesWaitForThePrepared, but not for long, and not for those who have gone.
func TestPlannedSwitchesWaitForThePrepared(t *testing.T) {
	p := pair.New(t, nil)
	seen := make(chan string, 10) // the switch does not wait for a function whose time is over
	cancel := p.Hook.OnPrepare(func(ctx context.Context, database string) {
		assert.NotEqual(t, database, p.Hook.Active(), "it comes before the switch")
		seen <- database
		<-ctx.Done()
	})
	began := time.Now()
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	took := time.Since(began)
	require.GreaterOrEqual(t, took, 200*time.Millisecond)
	require.Less(t, took, 200*time.Millisecond+5*time.Second)
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	require.Len(t, seen, 1, "there was nothing to prepare the second time")
	require.NoError(t, p.Hook.ForceActive("east", 0))
	require.NoError(t, p.Hook.Remove(t.Context(), "east"))
	require.Len(t, seen, 3)
	for _, want := range []string{"west", "east", "west"} {
		require.Equal(t, want, <-seen)
	}
	cancel()
	require.Equal(t, []string{"west"}, p.Hook.Databases())
	_, err := p.Hook.DatabaseOptions("east")
	require.ErrorIs(t, err, multidb.ErrUnknownDatabase)
}

// How a switch is made, by whom, and what it does to connections: regressions of control.go and switch.go.

// Events: SetActive has asked the database and waits for those who prepare; the database dies, its health loop opens the
// breaker, and its review finds nothing to do, because it is not active. The choice is then published all the same, and
// nobody looks again: the hook stays on a dead database for ever.
func TestDatabaseDiesWhileSwitchIsPrepared(t *testing.T) {
	bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: -1}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		defer h.OnPrepare(func(ctx context.Context, _ string) {
			dbs[1].Up.Store(false)
			h.Report("b", virtual.ErrUnreachable) // what pubsubwrap does when its connection to the new database fails
			<-ctx.Done()
		})()
		require.ErrorContains(t, h.SetActive(context.Background(), "b"), "not healthy")
		require.Equal(t, "a", h.Active())
		require.Empty(t, h.Stats().Held)
	})
}

// Events: a function of OnPrepare ignores its context. The switch, and with a failback the health loop of the new
// database, waited for it for as long as it took.
func TestPreparingIsBounded(t *testing.T) {
	bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, _ []*virtual.DB) {
		goOn, calls := make(chan struct{}), atomic.Int64{}
		h.OnPrepare(func(context.Context, string) { calls.Add(1); <-goOn })
		began := time.Now()
		assert.NoError(t, h.ForceActive("b", 0))
		assert.Equal(t, 200*time.Millisecond, time.Since(began))
		began = time.Now()
		assert.NoError(t, h.ForceActive("a", 0))
		assert.Zero(t, time.Since(began), "it is not called again before it has returned")
		assert.EqualValues(t, 1, calls.Load())

		closed := make(chan struct{})
		go func() { defer close(closed); assert.NoError(t, h.Close()) }()
		time.Sleep(time.Minute)
		select {
		case <-closed:
			t.Error("Close has not joined a goroutine that the hook has started")
		default:
		}
		close(goOn)
		<-closed
	})
}

// Events: a function of OnPrepare panics, in a goroutine of the hook's. That ended the process.
func TestPreparingPanics(t *testing.T) {
	bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, _ []*virtual.DB) {
		h.OnPrepare(func(context.Context, string) { panic("boom") })
		began := time.Now()
		assert.NoError(t, h.ForceActive("b", 0))
		assert.Zero(t, time.Since(began))
		assert.Equal(t, "b", h.Active())
	})
}
