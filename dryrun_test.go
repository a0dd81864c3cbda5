package multidb

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Events: in a dry run a weight is changed, so that another database is preferred; the next check moves to it, for real,
// because the move is said to be for the weight and not a failback.
func TestRegressionDryRunMovesForAWeight(t *testing.T) {
	opt := Options{DryRun: true}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *Hook, _ []*virtual) {
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
func TestRegressionDryRunMakesAnOutageLonger(t *testing.T) {
	p := newPair(t, func(o *Options, _ *redis.Options) { o.DryRun = true })
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "k", "v", 0).Err())
	p.east.Kill()
	began := time.Now()
	require.Error(t, p.rdb.Set(ctx, "k", "v", 0).Err())
	require.Less(t, time.Since(began), 4*time.Second, "go-redis alone takes up to 1.7 s")
	require.Equal(t, "east", p.hook.Active())
	eventually(t, 5*time.Second, "the report", func() bool { return len(p.switched()) > 0 })
	require.True(t, p.switched()[0].DryRun)
}
