package multidb

import (
	"context"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/selector"
)

// sweep does to connections what a switch has decided. It runs after the new choice is visible, without a lock: a
// connection that is admitted meanwhile belongs to the new choice, and those it meets do not.
func (h *Hook) sweep(old *selector.Epoch, to *database.Database, down, planned, drains bool) {
	h.followEpoch()
	switch {
	case old.DB == to && !down:
		// The end of an outage, at the same place: its connections were closed when it began.
		return
	case !drains || h.opt.DrainTimeout < 0:
		old.DB.Conns.Cut(old.Number)
	default:
		if planned {
			old.DB.Conns.MoveSubscribed(old.Number, h.workers.Go)
		} else {
			old.DB.Conns.CutStuck(old.Number) // no new connection can be made, and the others may work
		}
		h.workers.Go(func() { h.drain(old) })
	}
	if down {
		for _, db := range h.selector.All() {
			db.Health.Nudge()
		}
	}
}

// drain lets sessions on the old database finish, and closes what is left of them in the end.
func (h *Hook) drain(old *selector.Epoch) {
	ctx, cancel := context.WithTimeout(h.ctx, h.opt.DrainTimeout)
	defer cancel()
	h.moveWaiting(ctx, old)
	<-ctx.Done()
	if h.isClosed() {
		// A closed hook lets everything through: what is in flight ends as it may, and sessions go on.
		return
	}
	if h.selector.Current().DB == old.DB {
		return // back again meanwhile, so they are good connections
	}
	old.DB.Conns.EndDrain(old.Number)
}

// moveWaiting has the commands move that wait on a database which was left and may still be used. Where CLIENT UNBLOCK is not
// permitted they end by themselves, or with the drain.
func (h *Hook) moveWaiting(ctx context.Context, old *selector.Epoch) {
	if old.DB.Cluster != nil {
		return // the numbers of connections are those of its nodes
	}
	err := h.waiting.Move(ctx, old.DB.Prober.Unblock,
		func() []int64 { return old.DB.Conns.Waiting(old.Number) },
		func(n uint64) { old.DB.Traffic.Unblocked.Add(n) },
		func() bool { return h.selector.Current().DB == old.DB }) // back again, and the next drain is another one
	if err != nil {
		h.events.notUnblocked(old.DB.Name, err)
	}
}
