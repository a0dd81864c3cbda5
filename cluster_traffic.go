package multidb

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/selector"
)

// Work that a cluster could not do waits for the cluster to replace a master.

// awaitTakeover lets work wait that a cluster could not do because it is replacing a master: until the cluster has, a switch is
// made, or Options.MaxWait is over. It reports whether the next attempt shall be made at once.
func (h *Hook) awaitTakeover(ctx context.Context, now *selector.Epoch, failed *attempt) bool {
	until, wanted := ctx.Value(takeoverKey{}).(time.Time)
	if !wanted || failed.kind == answered || callerGaveUp(ctx) {
		return false
	}
	news := now.DB.Cluster.News() // before the question: what comes in between is not missed
	if now.DB.Prober.Degraded() == nil {
		return false
	}
	return now.Await(ctx, news, time.Until(until))
}

type takeoverKey struct{}

// withTakeover bounds how long all attempts at one piece of work wait for takeovers.
func (h *Hook) withTakeover(ctx context.Context) context.Context {
	if h.opt.MaxWait <= 0 || !h.isCluster() {
		return ctx
	}
	return context.WithValue(ctx, takeoverKey{}, time.Now().Add(h.opt.MaxWait))
}
