package blocked

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/wait"
)

// slowest is the longest time between two looks for commands that wait. A request that was let through before a switch may be
// written a little after it.
const slowest = 20 * time.Millisecond

// tries is how often CLIENT UNBLOCK is sent for the same connections.
const tries = 3

// Unblock ends the waits on connections and returns how many have ended by it.
type Unblock func(ctx context.Context, ids []int64) (ended uint64, err error)

// Move unblocks what waits on a database that was left and may still be used, until ctx ends or over says that it is of no use any
// more. waiting names the connections, each once, and unblock sends CLIENT UNBLOCK for them. It returns the first error: the database
// does not take it. moved is told how many waits have ended.
func (c *Commands) Move(ctx context.Context, unblock Unblock, waiting func() []int64, moved func(uint64), over func() bool) error {
	for pause := time.Millisecond; ctx.Err() == nil && !over(); pause = min(2*pause, slowest) {
		if ids := waiting(); len(ids) > 0 {
			ended, err := c.unblock(ctx, unblock, ids)
			moved(ended)
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
		wait.For(ctx, pause)
	}
	return nil
}

// unblock ends the waits on connections and returns how many have ended by it.
func (c *Commands) unblock(ctx context.Context, unblock Unblock, ids []int64) (ended uint64, err error) {
	c.unblocking.Add(1)
	defer c.unblocking.Add(-1)
	defer c.unblocked.Add(1) // first: in between, both say it
	for range tries {
		var n uint64
		n, err = unblock(ctx, ids)
		ended += n
		if err == nil || goredis.IsReply(err) || ctx.Err() != nil {
			break
		}
	}
	return ended, err
}
