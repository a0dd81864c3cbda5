package multidb

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

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
			h, err := New(t.Context(), Options{
				Databases: specs, Logger: testLog(t),
				Health: Health{Checks: []probes.Check{noted(&mu, at)}},
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
				v.redis.Close()
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
	bubble(t, 2, Options{Failback: Failback{GracePeriod: time.Second}}, func(h *Hook, dbs []*virtual) {
		refuse := probes.Func("refuses", func(context.Context, probes.Target) error { return context.DeadlineExceeded })
		require.ErrorContains(t, h.AddProbe(probes.Check{}), "Probe")
		require.NoError(t, h.AddProbe(probes.Check{Probe: probes.Gate(refuse), Probes: 1}))
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active(), "a gate evicts nobody")
		require.Error(t, h.SetActive(context.Background(), "b"), "and lets nobody in")
		dbs[0].up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "b", h.Active(), "but an outage is worse than a gate")
		dbs[0].up.Store(true)
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
		h, err := New(t.Context(), Options{
			Databases: specs, Logger: testLog(t),
			Health: Health{Checks: []probes.Check{noted(&mu, at)}},
		})
		require.NoError(t, err)
		time.Sleep(span)
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.redis.Close()
		}
	})
	return at
}

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

// TestLateResultIsVoid: what a round finds out about a state of the breaker that is over has no consequence.
func TestLateResultIsVoid(t *testing.T) {
	bubble(t, 2, Options{}, func(h *Hook, _ []*virtual) {
		db := h.selector.find("a")
		for _, kind := range []runKind{routineRun, halfOpenRun} {
			h.finishRun(db, &checkRun{kind: kind, generation: db.currentGeneration() - 1, cancel: func() {}}, errUnreachable)
			require.True(t, db.usable(), "kind %d", kind)
		}
		h.finishRun(db, &checkRun{kind: routineRun, generation: db.currentGeneration(), cancel: func() {}}, errUnreachable)
		require.False(t, db.usable(), "one that is not late does")
	})
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
