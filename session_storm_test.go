package multidb

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestSessionsInAStormOfPlannedSwitches: a session goes on where it began however often its database is left and
// returned to meanwhile, also at the very moment of a switch.
func TestSessionsInAStormOfPlannedSwitches(t *testing.T) {
	switches := 20_000
	if testing.Short() {
		switches = 4_000
	}
	p := newPair(t, func(o *Options, r *redis.Options) {
		calm(o, r)
		o.Logger = slog.New(slog.DiscardHandler)
		r.MaintNotificationsConfig = maintenanceOff() // see TestPlannedSwitchesKeepSessions
	})
	var stop atomic.Bool
	var wg sync.WaitGroup
	l := newLedger()
	for range 4 {
		wg.Go(func() {
			ctx := context.Background()
			for !stop.Load() {
				conn := p.rdb.Conn()
				for range 50 {
					err := conn.Incr(ctx, "n").Err()
					l.add("n", 1, err)
					if err != nil {
						break
					}
				}
				_ = conn.Close()
			}
		})
	}
	for i := range switches {
		require.NoError(t, p.hook.ForceActive([]string{"west", "east"}[i%2], 0))
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	stop.Store(true)
	wg.Wait()
	require.Equal(t, errorFree, l.errs)
	require.Equal(t, l.count["n"], p.sum(t, "n"))
}
