package multidb

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/virtual"
)

// Events: the active one of 64 databases loses connections all the time, and answers PING. The others must be left alone
// while it answers at once, and asked no more often than every Health.Timeout while it does not.
func TestAskingTheOthersIsNoStorm(t *testing.T) {
	bubble(t, 4, Options{}, func(h *Hook, _ []*virtual.DB) {
		var raised atomic.Int64
		a, b := h.selector.Find("a").Health, h.selector.Find("b").Health
		watch := func(what func()) int64 {
			before := raised.Load()
			for range 1000 {
				what()
				time.Sleep(5 * time.Millisecond)
				if verdict := b.Pending(); verdict != nil {
					raised.Add(1)
					<-verdict
				}
			}
			return raised.Load() - before
		}
		require.Zero(t, watch(func() { <-a.Suspect(virtual.ErrUnreachable) }), "it has answered at once")
		require.LessOrEqual(t, watch(func() {
			a.Late()
		}), int64(1+5*time.Second/h.opt.Health.Timeout))
	})
}

// Events: all connections have died quietly, and keep no deadlines; Close, while a probe waits for an answer. It waited for
// the probe.
func TestCloseDoesNotWaitForAProbe(t *testing.T) {
	n := &virtual.DeafNetwork{}
	dialedBubble(t, Options{}, n.Wrap, func(h *Hook, _ []*virtual.DB, _ *redis.Client) {
		time.Sleep(7 * time.Second)
		n.Lose(true)
		go func() { _ = h.selector.Find("a").Health.Probe(context.Background()) }()
		h.selector.Find("a").Health.Suspect(virtual.ErrUnreachable)
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		require.NoError(t, h.Close())
		require.Less(t, time.Since(began), 10*time.Millisecond)
	})
}
