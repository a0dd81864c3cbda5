// Package monitor looks at what nobody reports: requests that stay without an answer, and troubles that go on.
package monitor

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/selector"
	"github.com/redishook/multidb/internal/traffic"
)

// monitorInterval is the resolution of stall detection and of the detectors' successes.
const monitorInterval = 50 * time.Millisecond

// restInterval is monitorInterval while nothing happens. A process that does nothing but wait wakes up for little else.
const restInterval = 5 * monitorInterval

// Config is what a monitor is made of. It must not be changed.
type Config struct {
	Choice   Choice
	Listener Listener
	DryRun   bool

	StallTimeout   time.Duration // how long a database that owes replies may be silent; negative: for ever
	ActiveInterval time.Duration // of the health checks of the active database

	// Dials returns how many connections were dialed for clients.
	Dials func() uint64
	// Ctx ends when the hook is closed.
	Ctx context.Context
}

// Choice is what a monitor needs of the choice of a database. *selector.Selector is one.
type Choice interface {
	// Current returns the database in use, or the one that was in use last.
	Current() *selector.Epoch
	// Effective is Current, or in a dry run what Current would be.
	Effective() *selector.Epoch
	// All returns all databases.
	All() []*database.Database
}

// Listener is told what goes on.
type Listener interface {
	// StillDown: no database is usable. causes are their names and causes, as attributes of a log line.
	StillDown(lasted time.Duration, dryRun bool, causes []any)
	// StillUnusable: a database is not.
	StillUnusable(database, addr string, lasted time.Duration, cause error)
	// Unrouted: commands run through the hook, but none of their connections was dialed by it.
	Unrouted()
}

// Monitor watches the active database. Wake is safe for concurrent use; Run is called once.
type Monitor struct {
	cfg      Config
	resting  atomic.Bool   // it looks seldom, because nothing is outstanding
	wake     chan struct{} // ends that, capacity 1
	unrouted bool          // the warning about unrouted connections has been given
}

// New makes a monitor.
func New(cfg Config) *Monitor { return &Monitor{cfg: cfg, wake: make(chan struct{}, 1)} }

// Run watches the active database for stalls and carries the counted successes to its detectors. After a whole look
// at which nothing was outstanding and nothing had happened it rests, until the next request stirs it.
func (m *Monitor) Run() {
	timer := time.NewTimer(monitorInterval)
	defer timer.Stop()
	s := stalls{of: make(map[string]*traffic.Stall)}
	var said reminders
	for ticks := 0; ; ticks++ {
		stirred := false
		select {
		case <-m.cfg.Ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
			stirred = true
		}
		resting := m.resting.Swap(false)
		now := m.cfg.Choice.Current()
		before := s.whole
		if !now.Down {
			m.watchForStall(&s, now.DB, resting || stirred)
		}
		if resting || ticks%2 == 0 {
			now.DB.Health.Consult(0)
			m.warnIfUnrouted(now.DB)
			m.remind(&said, time.Now())
		}
		if !stirred && s.whole.Calm(before) {
			// In this order: a request that begins now either finds the monitor at rest or is found by it.
			m.resting.Store(true)
			if _, outstanding := now.DB.Conns.Progress(); !outstanding {
				timer.Reset(min(now.DB.Health.UntilSlot(restInterval), 2*restInterval))
				continue
			}
			m.resting.Store(false)
		}
		timer.Reset(monitorInterval)
	}
}

// Wake wakes the monitor up, if it rests, because something is outstanding now. One atomic load otherwise.
func (m *Monitor) Wake() {
	if m.resting.Load() && m.resting.CompareAndSwap(true, false) {
		select {
		case m.wake <- struct{}{}:
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
func (m *Monitor) watchForStall(s *stalls, db *database.Database, rested bool) {
	now := time.Now()
	reads, outstanding := db.Conns.Progress()
	quiet, served := s.whole.Look(db, reads, outstanding, rested, now)
	if served {
		db.Health.Served(now)
	}
	m.suspectIfSilent(&s.whole, db, quiet, now)
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
		m.suspectIfSilent(one, db, quiet, now)
	}
	s.of = next
}

func (m *Monitor) suspectIfSilent(s *traffic.Stall, db *database.Database, quiet time.Duration, now time.Time) {
	if limit := m.cfg.StallTimeout; limit > 0 && quiet >= db.Prober.Scaled(limit) {
		db.Health.Suspect(health.Stall(quiet))
		s.PutOff(now, m.cfg.ActiveInterval-limit)
	}
}

// warnIfUnrouted reports, once, that commands run through the hook but none of their connections was dialed by it.
func (m *Monitor) warnIfUnrouted(db *database.Database) {
	if m.unrouted || m.cfg.Dials() > 0 || db.Traffic.Successes.Load() == 0 {
		return
	}
	m.unrouted = true
	m.cfg.Listener.Unrouted()
}
