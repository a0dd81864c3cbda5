package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// TestDryRun decides, counts and reports, and switches nothing.
func TestDryRun(t *testing.T) {
	opt := multidb.Options{DryRun: true, Failback: multidb.Failback{GracePeriod: time.Second}}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())
		require.Len(t, switches.list(), 1)
		require.True(t, switches.list()[0].DryRun)
		require.EqualValues(t, 1, h.Stats().Switches[multidb.ReasonHealthCheck])
		require.False(t, h.Stats().Down)
		require.NoError(t, h.SetActive(context.Background(), "b"), "a manual switch is no automatic one")
		require.Equal(t, "b", h.Active())
	})
}

// Events: in a dry run a weight is changed, so that another database is preferred; the next check moves to it, for real,
// because the move is said to be for the weight and not a failback.
func TestDryRunDoesNotMoveForAWeight(t *testing.T) {
	opt := multidb.Options{DryRun: true}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		require.NoError(t, h.SetWeight("b", 10))
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())
	})
	list := switches.list()
	require.Len(t, list, 1)
	require.True(t, list[0].DryRun)
	require.Equal(t, "b", list[0].To)
}

// Events: in a dry run the active database dies. Each command goes through all attempts of the hook, each with go-redis' own
// inside, although no switch can come: the outage is worse than without the hook.
func TestDryRunMakesNoOutageLonger(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) { o.DryRun = true })
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", "v", 0).Err())
	p.East.Kill()
	began := time.Now()
	require.Error(t, p.RDB.Set(ctx, "k", "v", 0).Err())
	require.Less(t, time.Since(began), 8*time.Second, "go-redis alone takes up to 1.7 s, and the attempts of the hook would make that 13")
	require.Equal(t, "east", p.Hook.Active())
	redistest.Eventually(t, 20*time.Second, "the report", func() bool { return len(p.Switched()) > 0 })
	require.True(t, p.Switched()[0].DryRun)
}

// story runs a schedule of faults and returns what the hook has told about it, without the marks of a dry run.
func story(t *testing.T, dry bool, schedule func(h *multidb.Hook, dbs []*virtual.DB)) (told []string) {
	t.Helper()
	var mu sync.Mutex
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprintf(format, args...))
	}
	opt := multidb.Options{
		DryRun: dry, Failback: multidb.Failback{GracePeriod: 10 * time.Second, Jitter: -1},
		Events: multidb.Events{
			OnSwitch: func(s multidb.Switch) {
				assert.True(t, s.DryRun == (dry && s.Reason != multidb.ReasonManual), "%+v", s)
				tell("%s -> %s: %s, planned %v, cause %v", s.From, s.To, s.Reason, s.Planned, s.Cause != nil)
			},
			OnAllDown:   func(cause error) { tell("all down, cause %v", cause != nil) },
			OnRecovered: func(database string) { tell("recovered at %s", database) },
		},
	}
	bubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		schedule(h, dbs)
		var switches uint64
		for _, n := range h.Stats().Switches {
			switches += n
		}
		mu.Lock()
		tell := fmt.Sprint(switches, " switches counted")
		told = append(told, tell)
		mu.Unlock()
		if dry {
			require.False(t, h.Stats().Down, "a dry run refuses no command")
		}
	})
	return told
}

// TestDryRunTellsTheSameStory: a dry run reports what a real one does for the same faults, in the same order: failovers,
// returns, outages of everything and their ends.
func TestDryRunTellsTheSameStory(t *testing.T) {
	set := func(dbs []*virtual.DB, up ...bool) {
		for i, is := range up {
			dbs[i].Up.Store(is)
		}
	}
	for name, schedule := range map[string]func(h *multidb.Hook, dbs []*virtual.DB){
		"failover and failback": func(_ *multidb.Hook, dbs []*virtual.DB) {
			set(dbs, false, true, true)
			time.Sleep(10 * time.Second)
			set(dbs, true, true, true)
			time.Sleep(time.Minute)
		},
		"one after the other": func(_ *multidb.Hook, dbs []*virtual.DB) {
			set(dbs, false, true, true)
			time.Sleep(10 * time.Second)
			set(dbs, false, false, true)
			time.Sleep(10 * time.Second)
			set(dbs, false, true, true)
			time.Sleep(time.Minute)
			set(dbs, true, true, true)
			time.Sleep(time.Minute)
		},
		"all down and back": func(_ *multidb.Hook, dbs []*virtual.DB) {
			for _, first := range []int{2, 0} {
				set(dbs, false, true, true)
				time.Sleep(10 * time.Second)
				set(dbs, false, false, true)
				time.Sleep(10 * time.Second)
				set(dbs, false, false, false)
				time.Sleep(10 * time.Second)
				// One after the other: what is returned to first, of two that are back at once, is a matter of jitter.
				for _, next := range []int{first, 2, 1, 0} {
					dbs[next].Up.Store(true)
					time.Sleep(5 * time.Minute)
				}
			}
		},
		"weights": func(h *multidb.Hook, dbs []*virtual.DB) {
			require.NoError(t, h.SetWeight("c", 9))
			time.Sleep(10 * time.Second)
			set(dbs, true, true, false)
			time.Sleep(10 * time.Second)
			set(dbs, true, true, true)
			require.NoError(t, h.SetWeight("c", 0.5))
			time.Sleep(time.Minute)
			require.NoError(t, h.SetWeight("b", 8))
			time.Sleep(time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			real, dry := story(t, false, schedule), story(t, true, schedule)
			require.Equal(t, real, dry)
			require.Greater(t, len(real), 2, "the schedule must make something happen")
		})
	}
}

// TestDryRunAndManualChoice: what is asked for by hand is done, and the dry run goes on from there.
func TestDryRunAndManualChoice(t *testing.T) {
	opt := multidb.Options{DryRun: true, Failback: multidb.Failback{GracePeriod: time.Second, Jitter: -1}}
	switches := recordSwitches(&opt)
	told := func() (all []string) {
		for _, s := range switches.list() {
			all = append(all, fmt.Sprintf("%s -> %s: %s, dry %v", s.From, s.To, s.Reason, s.DryRun))
		}
		return all
	}
	bubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		time.Sleep(5 * time.Second)
		require.NoError(t, h.SetActive(context.Background(), "c"))
		require.Equal(t, "c", h.Active())
		dbs[2].Up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "c", h.Active())
		dbs[2].Up.Store(true)
		time.Sleep(5 * time.Second)
		require.NoError(t, h.SetActive(context.Background(), "c"), "it is there, and would be elsewhere")
		require.NoError(t, h.Remove(context.Background(), "b"))
		time.Sleep(time.Second)
		require.Equal(t, []string{
			"a -> b: health_check, dry true", // a fails
			"a -> c: manual, dry false",
			"c -> b: health_check, dry true", // c fails
			"b -> c: manual, dry true",
		}, told())
	})
}

// Events: a dry run is at b, in its own eyes, and b is removed. It went on deciding about a database that is gone.
func TestDryRunIsAtARemovedDatabase(t *testing.T) {
	opt := multidb.Options{DryRun: true, Failback: multidb.Failback{GracePeriod: time.Second, Jitter: -1}}
	switches := recordSwitches(&opt)
	bubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		time.Sleep(5 * time.Second)
		require.NoError(t, h.Remove(context.Background(), "b"))
		time.Sleep(time.Second)
		list := switches.list()
		require.Len(t, list, 2)
		require.Equal(t, "a", list[1].From)
		require.Equal(t, "c", list[1].To)
		require.True(t, list[1].DryRun)
	})
}
