// Package monitor looks at what nobody reports: requests that stay without an answer, and troubles that go on.
package monitor

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/selector"
)

// monitorInterval is the resolution of stall detection and of the detectors' successes.
const monitorInterval = 25 * time.Millisecond

// restInterval is monitorInterval while nothing happens. A process that does nothing but wait wakes up for little else.
const restInterval = 10 * monitorInterval

// Config is what a monitor is made of. It must not be changed.
type Config struct {
	Choice   *selector.Selector
	Listener Listener
	DryRun   bool

	Limits database.Limits // how long a database may owe something

	// Dials returns how many connections were dialed for clients.
	Dials func() uint64
	// Ctx ends when the hook is closed.
	Ctx context.Context
}

// Listener is told what goes on.
type Listener interface {
	// StillDown: no database is usable. causes are their names and causes, as attributes of a log line.
	StillDown(lasted time.Duration, dryRun bool, causes []any)
	// StillUnusable: a database is not.
	StillUnusable(database, addr string, lasted time.Duration, cause error)
	// Unrouted: commands run through the hook, over connections that were not dialed by it.
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
	watch, wasDown, rested := database.NewWatch(m.cfg.Limits), true, false
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
		before := *watch
		if !now.Down {
			watch.Look(now.DB, resting || stirred || wasDown || rested, time.Now())
		}
		wasDown, rested = now.Down, false
		if resting || ticks%4 == 0 {
			now.DB.Health.Consult(0)
			m.warnIfUnrouted()
			m.remind(&said, time.Now())
		}
		if !stirred && watch.Calm(before) {
			// In this order: a request that begins now either finds the monitor at rest or is found by it.
			m.resting.Store(true)
			if _, outstanding := now.DB.Conns.Progress(); !outstanding {
				rested = true // whoever ends the rest may not have told it yet
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
