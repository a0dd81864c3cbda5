package multidb

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHookOfFindsTheHookAndSendsNothing(t *testing.T) {
	p := newPair(t, nil)
	require.Same(t, p.hook, HookOf(p.rdb))
	require.Zero(t, p.rdb.PoolStats().TotalConns, "nothing was dialed")
	bare := redis.NewClient(p.east.Options())
	defer bare.Close()
	require.Nil(t, HookOf(bare))
	require.Zero(t, bare.PoolStats().TotalConns)
	var none *redis.Client
	require.Nil(t, HookOf(none))
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{p.east.Addr()}})
	defer cluster.Close()
	require.Nil(t, HookOf(cluster))
}

func TestChoiceCountsSwitches(t *testing.T) {
	p := newPair(t, nil)
	first := p.hook.Choice()
	require.Equal(t, "east", first.Database)
	require.NoError(t, p.hook.SetActive(t.Context(), "west"))
	select {
	case <-first.Over():
	default:
		require.FailNow(t, "the first choice is not over")
	}
	second := p.hook.Choice()
	require.Equal(t, Choice{
		Database: "west", Number: first.Number + 1, At: second.At, Reason: ReasonManual, Planned: true, over: second.over,
	}, second)
	require.True(t, second.At.After(first.At) && !second.At.After(time.Now()))
	require.Equal(t, ReplayRead, p.hook.RungOf(redis.NewCmd(t.Context(), "get", "k")))
}

// TestPlannedSwitchesWaitForThePrepared, but not for long, and not for those who have gone.
func TestPlannedSwitchesWaitForThePrepared(t *testing.T) {
	p := newPair(t, nil)
	seen := make(chan string, 10) // the switch does not wait for a function whose time is over
	cancel := p.hook.OnPrepare(func(ctx context.Context, database string) {
		assert.NotEqual(t, database, p.hook.Active(), "it comes before the switch")
		seen <- database
		<-ctx.Done()
	})
	began := time.Now()
	require.NoError(t, p.hook.SetActive(t.Context(), "west"))
	took := time.Since(began)
	require.GreaterOrEqual(t, took, prepareTime)
	require.Less(t, took, prepareTime+5*time.Second)
	require.NoError(t, p.hook.SetActive(t.Context(), "west"))
	require.Len(t, seen, 1, "there was nothing to prepare the second time")
	require.NoError(t, p.hook.ForceActive("east", 0))
	require.NoError(t, p.hook.Remove(t.Context(), "east"))
	require.Len(t, seen, 3)
	for _, want := range []string{"west", "east", "west"} {
		require.Equal(t, want, <-seen)
	}
	cancel()
	require.Equal(t, []string{"west"}, p.hook.Databases())
	_, err := p.hook.DatabaseOptions("east")
	require.ErrorIs(t, err, ErrUnknownDatabase)
}

// TestReportIsNoVerdict: a database that answers stays, one that does not is left before the next health check.
func TestReportIsNoVerdict(t *testing.T) {
	p := newPair(t, func(o *Options, _ *redis.Options) {
		o.Health.Interval, o.Health.ActiveInterval = time.Hour, time.Hour
	})
	mine := errors.New("my connection is gone")
	p.hook.Report("east", mine)
	p.hook.Report("nowhere", mine)
	eventually(t, 10*time.Second, "the acquittal", func() bool { return p.hook.selector.find("east").pending() == nil })
	require.Equal(t, "east", p.hook.Active())
	p.east.Kill()
	p.hook.Report("east", mine)
	eventually(t, 10*time.Second, "a switch", func() bool { return p.hook.Active() == "west" })
	opt, err := p.hook.DatabaseOptions("west")
	require.NoError(t, err)
	require.Equal(t, p.west.Addr(), opt.Addr)
}
