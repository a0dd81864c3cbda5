package multidb

import (
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/traffic"
)

// One goroutine looks at what nobody reports: requests that stay without an answer, and troubles that go on.

// monitorInterval is the resolution of stall detection and of the detectors' successes.
const monitorInterval = 50 * time.Millisecond

// restInterval is monitorInterval while nothing happens. A process that does nothing but wait wakes up for little else.
const restInterval = 5 * monitorInterval

// monitor watches the active database for stalls and carries the counted successes to its detectors. After a whole look
// at which nothing was outstanding and nothing had happened it rests, until the next request stirs it.
func (h *Hook) monitor() {
	timer := time.NewTimer(monitorInterval)
	defer timer.Stop()
	s := stalls{of: make(map[string]*traffic.Stall)}
	var said reminders
	for ticks := 0; ; ticks++ {
		stirred := false
		select {
		case <-h.ctx.Done():
			return
		case <-timer.C:
		case <-h.monitorWake:
			stirred = true
		}
		resting := h.resting.Swap(false)
		now := h.selector.Current()
		before := s.whole
		if !now.Down {
			h.watchForStall(&s, now.DB, resting || stirred)
		}
		if resting || ticks%2 == 0 {
			now.DB.Health.Consult(0)
			h.warnIfUnrouted(now.DB)
			h.remind(&said, time.Now())
		}
		if !stirred && s.whole.Calm(before) {
			// In this order: a request that begins now either finds the monitor at rest or is found by it.
			h.resting.Store(true)
			if _, outstanding := now.DB.Conns.Progress(); !outstanding {
				timer.Reset(min(now.DB.Health.UntilSlot(restInterval), 2*restInterval))
				continue
			}
			h.resting.Store(false)
		}
		timer.Reset(monitorInterval)
	}
}

// wakeMonitor wakes the monitor up, if it rests, because something is outstanding now. One atomic load otherwise.
func (h *Hook) wakeMonitor() {
	if h.resting.Load() && h.resting.CompareAndSwap(true, false) {
		select {
		case h.monitorWake <- struct{}{}:
		default:
		}
	}
}

// stalls are the silences of the active database, and of each node of one that is a cluster: the replies of the others hide the
// silence of one node.
type stalls struct {
	whole traffic.Stall
	of    map[string]*traffic.Stall
}

// watchForStall makes a database suspect that owes replies and is silent.
func (h *Hook) watchForStall(s *stalls, db *database.Database, rested bool) {
	now := time.Now()
	reads, outstanding := db.Conns.Progress()
	quiet, served := s.whole.Look(db, reads, outstanding, rested, now)
	if served {
		db.Health.Served(now)
	}
	h.suspectIfSilent(&s.whole, db, quiet, now)
	if db.Cluster == nil {
		return
	}
	next := make(map[string]*traffic.Stall, len(s.of))
	for node, p := range db.Conns.ProgressByNode() {
		one := s.of[node]
		if one == nil {
			one = &traffic.Stall{}
		}
		next[node] = one
		quiet, _ := one.Look(db, p.Reads, p.Outstanding, rested, now)
		h.suspectIfSilent(one, db, quiet, now)
	}
	s.of = next
}

func (h *Hook) suspectIfSilent(s *traffic.Stall, db *database.Database, quiet time.Duration, now time.Time) {
	if limit := h.opt.Health.StallTimeout; limit > 0 && quiet >= db.Prober.Scaled(limit) {
		db.Health.Suspect(health.Stall(quiet))
		s.PutOff(now, h.opt.Health.ActiveInterval-limit)
	}
}
