package multidb

import (
	"context"
	"sync"
	"time"

	"github.com/redishook/multidb/internal/wait"
	"github.com/redishook/multidb/window"
)

// What traffic says about a cluster: a node of its own may be dead and about to be replaced, which is no reason to leave it.

// judging says whether a verdict of the detectors is being put to the cluster.
type judging struct {
	mu    sync.Mutex
	busy  bool              // Guarded by mu
	nodes map[string]*stall // of the monitor, which is one goroutine
}

// reconsider puts the verdict of a detector to the cluster. If a master of the cluster is being replaced, the traffic of that
// one fails, and the verdict is void. Otherwise traffic that keeps failing has the word, as everywhere.
func (h *Hook) reconsider(db *database, generation uint64, verdict window.Verdict) {
	c := db.cluster
	c.judging.mu.Lock()
	defer c.judging.mu.Unlock()
	if c.judging.busy {
		return
	}
	c.judging.busy = h.spawn(func() {
		defer func() {
			c.judging.mu.Lock()
			defer c.judging.mu.Unlock()
			c.judging.busy = false
		}()
		ctx, cancel := context.WithTimeout(h.ctx, db.scaled(h.opt.Health.Timeout))
		defer cancel()
		if err := h.ping(ctx, db); err != nil {
			h.suspect(db, err)
			return
		}
		if c.degraded() != nil {
			db.traffic.Reset()
			return
		}
		wait.For(h.ctx, 2*monitorInterval)
		if again := db.traffic.Sample(0); again.Failing && c.degraded() == nil {
			h.tripByTraffic(db, generation, verdict)
		}
	})
}

// watchNodesForStall is watchForStall for each node of a cluster: the replies of the others hide the silence of one. Only the
// monitor calls it.
func (h *Hook) watchNodesForStall(db *database, rested bool) {
	limit := h.opt.Health.StallTimeout
	if db.cluster == nil || limit <= 0 {
		return
	}
	now, stalls := time.Now(), db.cluster.judging.nodes
	next := make(map[string]*stall, len(stalls))
	for node, p := range db.conns.ProgressByNode() {
		s := stalls[node]
		if s == nil {
			s = &stall{since: now}
		}
		next[node] = s
		if p.Reads != s.reads || !p.Outstanding || rested {
			s.reads, s.since = p.Reads, now
		}
		if quiet := now.Sub(s.since); quiet >= db.scaled(limit) {
			h.suspect(db, stallError(quiet))
			s.suspected(now, h.opt.Health.ActiveInterval-limit)
		}
	}
	db.cluster.judging.nodes = next
}

// awaitTakeover lets work wait that a cluster could not do because it is replacing a master: until the cluster has, a switch is
// made, or Options.MaxWait is over. It reports whether the next attempt shall be made at once.
func (h *Hook) awaitTakeover(ctx context.Context, now *epoch, failed *attempt) bool {
	c := now.db.cluster
	until, wanted := ctx.Value(takeoverKey{}).(time.Time)
	if !wanted || failed.kind == answered || callerGaveUp(ctx) {
		return false
	}
	news := c.News() // before the question: what comes in between is not missed
	if c.degraded() == nil {
		return false
	}
	return await(ctx, now, news, time.Until(until))
}

type takeoverKey struct{}

// withTakeover bounds how long all attempts at one piece of work wait for takeovers.
func (h *Hook) withTakeover(ctx context.Context) context.Context {
	if h.opt.MaxWait <= 0 || !h.isCluster() {
		return ctx
	}
	return context.WithValue(ctx, takeoverKey{}, time.Now().Add(h.opt.MaxWait))
}
