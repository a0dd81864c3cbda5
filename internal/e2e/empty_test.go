package e2e_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events:
//  1. east dies, and the client writes to west.
//  2. east comes back, with its data or without it, and is returned to.
//
// A return to a database without its data is a warning. A return to one that has data is none, and neither is one where both
// are empty.
func TestReturnToAnEmptyDatabaseIsAWarning(t *testing.T) {
	for _, c := range []struct {
		name         string
		before, away bool // there is a key on east before it dies, which it keeps; one is written to west
		warns        bool
	}{
		{"without its data", false, true, true}, {"with its data", true, true, false}, {"both empty", false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &lines{}
			p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
				o.Logger = logTo(log)
				o.Failback = multidb.Failback{GracePeriod: 300 * time.Millisecond}
				o.Breaker = multidb.Breaker{Delay: 100 * time.Millisecond, Successes: 1}
			}, redistest.Persist())
			ctx := t.Context()
			require.NoError(t, p.RDB.Ping(ctx).Err())
			if c.before {
				require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
			}
			p.East.Kill()
			redistest.Eventually(t, 10*time.Second, "the failover", func() bool { return p.RDB.Ping(ctx).Err() == nil && p.Hook.Active() == "west" })
			if c.away {
				require.NoError(t, p.RDB.Set(ctx, "k", 2, 0).Err())
			}
			p.East.Restart()
			redistest.Eventually(t, 20*time.Second, "the return", func() bool { return p.Hook.Active() == "east" })
			time.Sleep(100 * time.Millisecond) // the line comes after the switch
			warned := log.with(`level=WARN msg="multidb: returned to an EMPTY database, and the one before has data" database=east addr=127.0.0.1:`)
			if c.warns {
				require.Len(t, warned, 1)
			} else {
				require.Empty(t, warned)
			}
			log.requireClean(t)
		})
	}
}
