package blocked

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/wait"
)

// slowest is the longest time between two looks for commands that wait. A request that was let through before a switch may be
// written a little after it.
const slowest = 20 * time.Millisecond

// tries is how often CLIENT UNBLOCK is sent for the same connections.
const tries = 3

// Unblock ends the waits on connections to a node and returns how many have ended by it.
type Unblock func(ctx context.Context, node string, ids []int64) (ended uint64, err error)

// Move unblocks what waits on a database that was left and may still be used, until ctx ends or over says that it is of no use any
// more. waiting names the connections by their node, each once. unblock sends CLIENT UNBLOCK for them, to all nodes at once: one may
// be silent. moved is told how many waits have ended. refused is told of a node that does not take CLIENT UNBLOCK, which is not
// asked any more.
func (c *Commands) Move(
	ctx context.Context, unblock Unblock, waiting func() map[string][]int64, moved func(uint64), refused func(node string, err error),
	over func() bool,
) {
	deaf := make(map[string]bool)
	for pause := time.Millisecond; ctx.Err() == nil && !over(); pause = min(2*pause, slowest) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		waits := waiting()
		maps.DeleteFunc(waits, func(node string, _ []int64) bool { return deaf[node] })
		for node, ids := range waits {
			wg.Go(func() {
				ended, err := c.unblock(ctx, unblock, node, ids)
				moved(ended)
				if err != nil && ctx.Err() == nil {
					refused(node, err)
					mu.Lock()
					defer mu.Unlock()
					deaf[node] = true
				}
			})
		}
		wg.Wait()
		wait.For(ctx, pause)
	}
}

// unblock ends the waits on connections to a node and returns how many have ended by it.
func (c *Commands) unblock(ctx context.Context, unblock Unblock, node string, ids []int64) (ended uint64, err error) {
	c.unblocking.Add(1)
	defer c.unblocking.Add(-1)
	defer c.unblocked.Add(1) // first: in between, both say it
	for range tries {
		var n uint64
		n, err = unblock(ctx, node, ids)
		ended += n
		if err == nil || goredis.IsReply(err) || ctx.Err() != nil {
			break
		}
	}
	return ended, err
}
