package e2e_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// Events: planned switches come faster than drains end. Each began a drain of its own, with a goroutine that lived for DrainTimeout.
func TestOneGoroutineDrainsADatabase(t *testing.T) {
	const switches = 200
	opt := multidb.Options{DrainTimeout: time.Minute, Failback: multidb.Failback{GracePeriod: time.Hour}}
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		synctest.Wait()
		before := runtime.NumGoroutine()
		for i := range switches {
			require.NoError(t, h.SetActive(context.Background(), []string{"b", "a"}[i%2]))
			synctest.Wait()
			require.LessOrEqual(t, draining(), 2, "switch %d: one for each database", i)
		}
		require.Equal(t, 2, draining())
		require.LessOrEqual(t, runtime.NumGoroutine(), before+10, "nothing else is begun for each switch")

		time.Sleep(50 * time.Second) // most of DrainTimeout
		require.NoError(t, h.SetActive(context.Background(), "b"))
		time.Sleep(50 * time.Second)
		require.Equal(t, 1, draining(), "a has been left anew, and its drain began anew; that of b is over")
		time.Sleep(20 * time.Second)
		require.Zero(t, draining())
	})
}

// draining returns how many goroutines drain a database.
func draining() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "switchover.(*Switchover).run(")
}
