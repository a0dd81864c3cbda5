package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// TestProbePace: a healthy database is checked at its interval and no more often, whatever else the health loop does. (A
// loop that started the next check as soon as one had ended was a storm of probes that no other test saw.)
func TestProbePace(t *testing.T) {
	for _, n := range []int{2, 64} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			at := make(map[string][]time.Duration)
			dbs, specs := newVirtuals(t, n)
			for i := range specs {
				specs[i].Name = string(rune('A' + i))
			}
			h, err := multidb.New(t.Context(), multidb.Options{
				Databases: specs, Logger: testkit.Log(t),
				Health: multidb.Health{Checks: []probes.Check{noted(&mu, at)}},
			})
			require.NoError(t, err)
			time.Sleep(time.Minute)
			require.NoError(t, h.Close())
			var all []time.Duration
			for name, times := range at {
				require.InDelta(t, 12, len(times), 3, "checks of %s in a minute at an interval of 5 s", name)
				for _, d := range times {
					if d > time.Second { // the first check of all is made at once, because New waits for it
						all = append(all, d)
					}
				}
			}
			slices.Sort(all)
			require.LessOrEqual(t, burst(all, 100*time.Millisecond), max(2, n/4), "checks within 100 ms of %d databases", n)
			for _, v := range dbs {
				v.Redis.Close()
			}
		})
	}
}

// burst is the largest number of times within a span.
func burst(sorted []time.Duration, span time.Duration) int {
	most, from := 0, 0
	for to := range sorted {
		for sorted[to]-sorted[from] > span {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// TestAddAndRemoveProbe at run time: a new check is asked of every database, and a gate holds back a move and no more.
func TestAddAndRemoveProbe(t *testing.T) {
	bubble(t, 2, multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		refuse := probes.Func("refuses", func(context.Context, probes.Target) error { return context.DeadlineExceeded })
		require.ErrorContains(t, h.AddProbe(probes.Check{}), "Probe")
		require.NoError(t, h.AddProbe(probes.Check{Probe: probes.Gate(refuse), Probes: 1}))
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active(), "a gate evicts nobody")
		require.Error(t, h.SetActive(context.Background(), "b"), "and lets nobody in")
		dbs[0].Up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "b", h.Active(), "but an outage is worse than a gate")
		dbs[0].Up.Store(true)
		time.Sleep(10 * time.Minute)
		require.Equal(t, "b", h.Active(), "no failback through a closed gate")
		require.NoError(t, h.RemoveProbe("refuses"))
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())
		require.ErrorContains(t, h.RemoveProbe("refuses"), "no database has a probe named")
	})
}

// checkTimes runs n databases for a while and returns when each was checked.
func checkTimes(t *testing.T, n int, span time.Duration) map[string][]time.Duration {
	t.Helper()
	at := make(map[string][]time.Duration)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		dbs, specs := newVirtuals(t, n)
		h, err := multidb.New(t.Context(), multidb.Options{
			Databases: specs, Logger: testkit.Log(t),
			Health: multidb.Health{Checks: []probes.Check{noted(&mu, at)}},
		})
		require.NoError(t, err)
		time.Sleep(span)
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
	return at
}

// defaultInterval is the default of Health.Interval.
const defaultInterval = 5 * time.Second

// TestChecksAreStaggered: after the start, the checks of many databases are spread over the whole interval, from the first
// one on. (Without it all would be due a tenth of the interval around its end.)
func TestChecksAreStaggered(t *testing.T) {
	const n, quarters = 20, 4
	var in [quarters + 1]int
	for name, times := range checkTimes(t, n, 8*time.Second) {
		if name == "a" {
			continue // it is active, and looked at in its own pace
		}
		require.Greater(t, len(times), 1, name)
		in[min(int(times[1]*quarters/defaultInterval), quarters)]++
	}
	for q, checks := range in[:quarters] {
		require.GreaterOrEqual(t, checks, n/quarters/2, "in quarter %d of the interval: %v", q, in)
	}
}

// TestChecksAreJittered: the time from one check of a passive database to the next is a tenth around the interval, and
// not always the same.
func TestChecksAreJittered(t *testing.T) {
	const slot = defaultInterval / 20
	different := make(map[time.Duration]int)
	times := checkTimes(t, 2, 10*time.Minute)["b"]
	for i := 2; i < len(times); i++ {
		gap := times[i] - times[i-1]
		require.InDelta(t, defaultInterval+slot/2, gap, float64(defaultInterval/10+slot/2+time.Millisecond))
		different[gap.Round(slot)]++
	}
	require.Greater(t, len(different), 2, "%v", different)
}

// noted is a check that passes, and notes how long after its making it was asked about each database; mu guards at.
func noted(mu *sync.Mutex, at map[string][]time.Duration) probes.Check {
	began := time.Now()
	return probes.Check{Probes: 1, Probe: probes.Func("count", func(_ context.Context, db probes.Target) error {
		mu.Lock()
		defer mu.Unlock()
		at[db.Name] = append(at[db.Name], time.Since(began))
		return nil
	})}
}

// Events: a switch makes a passive database the active one. The timer of its health loop was set at the passive pace, up
// to an interval before the next look. Nobody sends commands (a process that only subscribes), and it dies: nobody asks it
// for up to 5 s, although the active database is promised to be asked every second.
func TestNewActiveIsProbedEverySecond(t *testing.T) {
	for offset := range 10 {
		bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, dbs []*virtual.DB) {
			time.Sleep(10*time.Second + time.Duration(offset)*500*time.Millisecond)
			require.NoError(t, h.ForceActive("b", 0))
			dbs[1].Up.Store(false)
			took := until(time.Minute, func() bool { return h.Active() == "a" })
			require.LessOrEqual(t, took, 1100*time.Millisecond, "offset %d", offset)
		})
	}
}

// Events: the same for the first choice, if that is not the first database of the configuration.
func TestFirstActiveIsProbedEverySecond(t *testing.T) {
	for last := range 4 {
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			startBubble(t, 4, multidb.Options{}, func(_ []*virtual.DB, specs []multidb.Database) { specs[last].Weight = 10 }, func(h *multidb.Hook, dbs []*virtual.DB) {
				name := string(rune('a' + last))
				require.Equal(t, name, h.Active())
				dbs[last].Up.Store(false)
				took := until(time.Minute, func() bool { return h.Active() != name })
				require.LessOrEqual(t, took, 1100*time.Millisecond)
			})
		})
	}
}
