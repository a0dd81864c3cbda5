package multidb

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/probes"
)

// Events: a connection of a healthy database breaks; a quick probe clears it. Neither the log nor the statistics said so.
func TestRegressionSuspicionsAreInvisible(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	east, west := regressionPair(t)
	h := regressionHook(t, Options{
		Databases: regressionURLs(east.Addr(), west.Addr()),
		Logger: slog.New(handlerFunc(func(r slog.Record) {
			text := r.Level.String() + " " + r.Message
			r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, text)
		})),
	})
	h.Report("east", errors.New("reset by a middlebox"))
	eventually(t, 20*time.Second, "the suspicion to be cleared", func() bool { return h.Stats().Databases[0].Cleared == 1 })
	require.EqualValues(t, 1, h.Stats().Databases[0].Suspicions)
	require.NoError(t, h.Close())
	var told []string
	for _, line := range lines {
		if strings.Contains(line, "suspect") || strings.Contains(line, "suspicion") {
			told = append(told, line)
		}
	}
	require.Len(t, told, 2)
	require.Regexp(t, `DEBUG multidb: suspected database=east cause=.*middlebox`, told[0])
	require.Regexp(t, `DEBUG multidb: suspicion cleared database=east after=\S+ cause=.*middlebox`, told[1])
}

// Events: a has recovered, and its lag keeps it from being returned to. Only the log said why, at Debug.
func TestRegressionReasonOfAClosedGateIsInvisible(t *testing.T) {
	var lagging atomic.Bool
	opt := Options{Failback: Failback{GracePeriod: time.Second, Jitter: -1}, Health: Health{Checks: []probes.Check{ping(),
		{Probes: 1, Probe: probes.Gate(probes.Func("lag", func(context.Context, probes.Target) error {
			if lagging.Load() {
				return errors.New("lags by 9 s")
			}
			return nil
		}))}}}}
	bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
		dbs[0].up.Store(false)
		time.Sleep(3 * time.Second)
		lagging.Store(true)
		dbs[0].up.Store(true)
		time.Sleep(30 * time.Second)
		require.Equal(t, "b", h.Active())
		require.ErrorContains(t, h.Stats().Databases[0].GateError, "lags by 9 s")
		require.NoError(t, h.Stats().Databases[1].GateError)
		lagging.Store(false)
		time.Sleep(10 * time.Second)
		require.Equal(t, "a", h.Active())
		require.NoError(t, h.Stats().Databases[0].GateError)
	})
}
