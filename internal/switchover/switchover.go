// Package switchover is what a switch does to the connections and the commands that are on the database before.
package switchover

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/selector"
	"github.com/redishook/multidb/internal/wait"
)

// Config is what a Switchover is made of. It must not be changed.
type Config struct {
	Choice       *selector.Selector
	Waiting      *blocked.Commands
	DrainTimeout time.Duration // how long sessions may go on; negative: they may not
	Limits       database.Limits
	// FollowEpoch makes ClusterClients follow the current choice.
	FollowEpoch func()
	Listener    Listener
	// Ctx ends when the hook is closed. Go starts a goroutine that the hook joins; false: it is closed.
	Ctx context.Context
	Go  func(func()) bool
}

// Listener is told what could not be done.
type Listener interface {
	// NotUnblocked: commands that wait on a database that was left stay there.
	NotUnblocked(database string, cause error)
}

// Switchover sees to connections after a switch. Safe for concurrent use.
type Switchover struct {
	cfg Config

	mu     sync.Mutex // leaf lock
	drains map[*database.Database]*drain
}

// drain is the end of the sessions on a database that was left. There is one for a database, however often it is left meanwhile.
type drain struct {
	old     *selector.Epoch // the last one that has ended there
	restart context.CancelFunc
}

// New makes a Switchover.
func New(cfg Config) *Switchover {
	return &Switchover{cfg: cfg, drains: make(map[*database.Database]*drain)}
}

func (s *Switchover) isClosed() bool { return s.cfg.Ctx.Err() != nil }

// Moved does to connections what a switch has decided. It runs after the new choice is visible, without a lock: a
// connection that is admitted meanwhile belongs to the new choice, and those it meets do not.
func (s *Switchover) Moved(old *selector.Epoch, to *database.Database, down, planned, drains bool) {
	s.cfg.FollowEpoch()
	switch {
	case old.DB == to && !down:
		// The end of an outage, at the same place: its connections were closed when it began.
		return
	case !drains || s.cfg.DrainTimeout < 0:
		old.DB.Conns.Cut(old.Number)
	default:
		if planned {
			old.DB.Conns.MoveSubscribed(old.Number, s.cfg.Go)
		} else {
			old.DB.Conns.CutStuck(old.Number) // no new connection can be made, and the others may work
		}
		s.drain(old)
	}
	if down {
		for _, db := range s.cfg.Choice.All() {
			db.Health.Nudge()
		}
	}
}

// drain begins to drain the database of an epoch that has ended, or to drain it anew.
func (s *Switchover) drain(old *selector.Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.drains[old.DB]; d != nil {
		if d.old.Number < old.Number { // two switches may come here in the wrong order
			d.old = old
			d.restart()
		}
		return
	}
	d := &drain{old: old, restart: func() {}}
	if s.cfg.Go(func() { s.run(d) }) {
		s.drains[old.DB] = d
	}
}

// run lets sessions on the old database finish, and closes what is left of them in the end.
func (s *Switchover) run(d *drain) {
	for {
		s.mu.Lock()
		ctx, cancel := context.WithTimeout(s.cfg.Ctx, s.cfg.DrainTimeout)
		old := d.old
		d.restart = cancel
		s.mu.Unlock()
		s.cfg.Go(func() { s.watch(ctx, old) })
		s.moveWaiting(ctx, old)
		<-ctx.Done()
		cancel()
		if s.over(d, old) {
			s.end(old)
			return
		}
	}
}

// over ends a drain, unless the database has been left again since the given epoch.
func (s *Switchover) over(d *drain, old *selector.Epoch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.old != old {
		return false
	}
	delete(s.drains, old.DB)
	return true
}

// end closes what is left of the sessions on a database whose time is over.
func (s *Switchover) end(old *selector.Epoch) {
	if s.isClosed() {
		// A closed hook lets everything through: what is in flight ends as it may, and sessions go on.
		return
	}
	if s.cfg.Choice.Current().DB == old.DB {
		return // back again meanwhile, so they are good connections
	}
	old.DB.Conns.EndDrain(old.Number)
}

// watch gives the drain up of a database that hangs: sessions that wait for it would wait until the end of the drain.
func (s *Switchover) watch(ctx context.Context, old *selector.Epoch) {
	old.DB.WatchDrain(ctx, s.cfg.Limits,
		func() bool { return s.cfg.Choice.Current().DB == old.DB || !old.DB.Conns.Draining() },
		func() { old.DB.Conns.EndDrain(old.Number) })
}

// moveWaiting has the commands move that wait on a database which was left and may still be used. Where CLIENT UNBLOCK is not
// permitted they end by themselves, or with the drain.
func (s *Switchover) moveWaiting(ctx context.Context, old *selector.Epoch) {
	s.cfg.Waiting.Move(ctx, old.DB.Prober.Unblock,
		func() map[string][]int64 { return old.DB.Conns.Waiting(old.Number) },
		func(n uint64) { old.DB.Traffic.Unblocked.Add(n) },
		func(node string, err error) {
			if node != "" {
				err = fmt.Errorf("node %s: %w", node, err)
			}
			s.cfg.Listener.NotUnblocked(old.DB.Name, err)
		},
		func() bool { return s.cfg.Choice.Current().DB == old.DB }) // back again, and the next drain is another one
}

// Retire ends a database that has been removed: its sessions drain, and then finish closes what else it has. If the hook closes
// meanwhile, the sessions are left alone, as in a drain. It reports false, and does nothing, if the hook is closed already.
func (s *Switchover) Retire(db *database.Database, finish func()) bool {
	return s.cfg.Go(func() {
		if db.Conns.Draining() {
			wait.For(s.cfg.Ctx, s.cfg.DrainTimeout)
		}
		if !s.isClosed() {
			db.Conns.CutAll()
		}
		finish()
	})
}
