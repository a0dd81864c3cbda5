package multidb

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Events: a site with n databases is lost at one instant, and one database elsewhere is left. Each of the lost was found
// out only when it had been moved to: nine of them took 5.8 s.
func TestRegressionDeadDatabasesAreFoundOutOneAfterTheOther(t *testing.T) {
	for _, n := range []int{1, 2, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			opt := Options{}
			switches := recordSwitches(&opt)
			hangingBubble(t, n+1, opt, func(h *Hook, dbs []*virtual, rdb *redis.Client) {
				time.Sleep(10 * time.Second)
				for i := range n {
					dbs[i].up.Store(false)
				}
				began := time.Now()
				require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
				require.Less(t, time.Since(began), time.Second)
				time.Sleep(time.Second)
				require.Len(t, switches.list(), 1, "one move, to the one that is left")
				require.Equal(t, string(rune('a'+n)), h.Active())
			})
		})
	}
}

// Events: all databases hang at one instant. That nothing is usable was known when the last of them had been moved to.
func TestRegressionAllDownIsFoundOutOneAfterTheOther(t *testing.T) {
	hangingBubble(t, 4, Options{}, func(h *Hook, dbs []*virtual, rdb *redis.Client) {
		for _, v := range dbs {
			v.up.Store(false)
		}
		began := time.Now()
		require.ErrorIs(t, rdb.Set(context.Background(), "k", 1, 0).Err(), ErrNoDatabase)
		require.Less(t, time.Since(began), time.Second)
		require.True(t, h.Stats().Down)
	})
}

// Events: the active one of 64 databases loses connections all the time, and answers PING. The others must be left alone
// while it answers at once, and asked no more often than every Health.Timeout while it does not.
func TestRegressionAskingBesideIsNoStorm(t *testing.T) {
	bubble(t, 4, Options{}, func(h *Hook, _ []*virtual) {
		var raised atomic.Int64
		a, b := h.selector.find("a"), h.selector.find("b")
		watch := func(what func()) int64 {
			before := raised.Load()
			for range 1000 {
				what()
				time.Sleep(5 * time.Millisecond)
				if verdict := b.pending(); verdict != nil {
					raised.Add(1)
					<-verdict
				}
			}
			return raised.Load() - before
		}
		require.Zero(t, watch(func() { <-h.suspect(a, errUnreachable) }), "it has answered at once")
		require.LessOrEqual(t, watch(func() {
			h.suspectOthers(a)
		}), int64(1+5*time.Second/h.opt.Health.Timeout))
	})
}
