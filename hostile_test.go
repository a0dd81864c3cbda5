package multidb

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestEveryPlannedMoveIsExact: the planned moves that no caller asks for by name (a manual choice that expires, failback, a
// weight, the removal of the active database and its return) one after the other in the middle of traffic: no error, and
// exact sums. A database that is removed while it drains and is added again under its name is the same server with other
// connections, so what is owed over the old ones must still be read.
func TestEveryPlannedMoveIsExact(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	p := newPair(t, func(o *Options, r *redis.Options) {
		calm(o, r)
		o.Failback = Failback{GracePeriod: time.Millisecond}
		o.Health.Interval, o.Health.ActiveInterval = 20*time.Millisecond, 20*time.Millisecond
	})
	specs := map[string]Database{
		"east": {Name: "east", Options: p.east.Options()},
		"west": {Name: "west", Weight: 0.5, Options: p.west.Options()},
	}
	l := newLedger()
	ops := []func(context.Context){
		func(ctx context.Context) { l.add("incr", 1, p.rdb.Incr(ctx, "incr").Err()) },
		func(ctx context.Context) {
			_, err := p.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.IncrBy(ctx, "tx", 2).Err() })
			l.add("tx", 2, err)
		},
		func(ctx context.Context) {
			_, err := p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for range 20 {
					pipe.Incr(ctx, "pipe")
				}
				return nil
			})
			l.add("pipe", 20, err)
		},
	}
	load := start(12, func(ctx context.Context, g, _ int) error { ops[g%len(ops)](ctx); return nil })
	moves := func(to string) {
		eventually(t, 20*time.Second, "the move to "+to, func() bool { return p.hook.Active() == to })
	}
	for range rounds {
		// It expires, and failback follows.
		require.NoError(t, p.hook.ForceActive("west", time.Duration(1+rand.IntN(5))*time.Millisecond))
		moves("east")
		// A weight moves, and the removal of the active database moves back.
		require.NoError(t, p.hook.SetWeight("west", 2))
		moves("west")
		require.NoError(t, p.hook.Remove(t.Context(), "west"))
		require.Equal(t, "east", p.hook.Active())
		require.NoError(t, p.hook.Add(t.Context(), specs["west"]))
	}
	load.end()
	require.Equal(t, errorFree, l.errs)
	for key, n := range l.count {
		require.Positive(t, n)
		require.Equal(t, n, p.sum(t, key), key)
	}
	reasons := p.hook.Stats().Switches
	for _, reason := range []Reason{ReasonManual, ReasonWeight, ReasonRemoved} {
		require.Positive(t, reasons[reason], "%v", reason)
	}
	t.Logf("%v, %v, exact", reasons, l.count)
}
